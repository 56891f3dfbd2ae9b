"""Histories by generate_seq_feature hold nothing of the future: nothing can be learned from clicks that are pure noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.data import DataGenerator, df_to_dict, generate_seq_feature
from torch_rechub.models.ranking import DIN
from torch_rechub.trainers import CTRTrainer

N_USER, N_ITEM, N_CLICK = 400, 60, 6


def noise() -> pd.DataFrame:
    """Each user clicks different items, drawn at random, in a random order."""
    rng = np.random.default_rng(0)
    items = rng.permuted(np.tile(np.arange(N_ITEM), (N_USER, 1)), axis=1)[:, :N_CLICK]
    return pd.DataFrame({"user": np.repeat(np.arange(N_USER), N_CLICK), "item": items.ravel(), "time": np.arange(N_USER * N_CLICK)})


def test_a_model_of_histories_learns_nothing_from_noise():
    """On clicks without any pattern the test AUC of DIN is .5, to four standard errors."""
    torch.manual_seed(0)
    frames = generate_seq_feature(noise(), "user", "item", "time", max_len=N_CLICK, seed=0)
    columns = [df_to_dict(frame) for frame in frames]
    labels = [part.pop("label") for part in columns]
    item = SparseFeature("target_item_id", N_ITEM + 1, 8, padding_idx=0)
    history = SequenceFeature("hist_item_id", N_ITEM + 1, 8, "concat", shared_with="target_item_id", padding_idx=0)
    model = DIN([], [history], [item], {"dims": [16]}, {"dims": [8], "norm": None})
    train, _, test = DataGenerator(columns[0], labels[0]).generate_dataloader(
        columns[1], labels[1], columns[2], labels[2], batch_size=200, seed=0
    )
    trainer = CTRTrainer(model, n_epoch=4, model_path=None, progress=False, optimizer_params={"lr": 0.02})
    trainer.fit(train)
    n = len(labels[2]) / 2  # rows of each label
    standard_error = ((2 * n + 1) / (12 * n * n)) ** 0.5
    assert abs(trainer.evaluate(model, test) - 0.5) < 4 * standard_error
