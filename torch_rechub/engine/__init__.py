"""The one training loop, and its seams: what a task optimizes (``Objective``) and what a validation measures (``Scorer``)."""

from torch_rechub.engine.catalogue import CatalogueScorer
from torch_rechub.engine.objective import Judged, Labelled, Loss, Objective, Size, divide
from torch_rechub.engine.row_objective import RowObjective
from torch_rechub.engine.scorer import RowScorer, Scorer

__all__ = ["CatalogueScorer", "Judged", "Labelled", "Loss", "Objective", "RowObjective", "RowScorer", "Scorer", "Size", "divide"]
