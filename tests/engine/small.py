"""A DeepFM of two features, 64 rows for it as a list of batches, and its trainer."""

import torch

from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer

FEATURES = [SparseFeature("user", 8, 4), SparseFeature("item", 5, 4)]


def columns(n=64):
    draw = torch.Generator().manual_seed(0)
    x = {"user": torch.randint(8, (n,), generator=draw), "item": torch.randint(5, (n,), generator=draw)}
    return x, ((x["user"] + x["item"]) % 3 == 0).float()


def batches(weight=None, size=8):
    x, y = columns()
    parts = [slice(i, i + size) for i in range(0, len(y), size)]
    return [({k: v[p] for k, v in x.items()}, y[p], *(() if weight is None else (weight[p],))) for p in parts]


def deepfm():
    torch.manual_seed(0)
    return DeepFM(FEATURES, FEATURES, {"dims": [8]})


def trainer_of(model=None, **options):
    options = {"n_epoch": 2, "progress": False, "model_path": None, "optimizer_params": {"lr": 0.01}, **options}
    return CTRTrainer(model or deepfm(), **options)
