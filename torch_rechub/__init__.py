"""torch_rechub: train recommender models in PyTorch, keep the best weights, lose nothing."""

import logging

__all__ = ["__version__"]

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
