"""The identity of a run: what its outcome depends on, compared before a saved run is resumed."""

from torch_rechub.engine.identity.compare import compare_identities, free_names
from torch_rechub.engine.identity.parts import data_identity, group_names, identity_of, labels_of

__all__ = ["compare_identities", "data_identity", "free_names", "group_names", "identity_of", "labels_of"]
