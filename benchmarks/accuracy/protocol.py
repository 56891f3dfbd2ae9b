"""One training of a model on Frappe by the published protocol."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.settings import Setting
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import load_frappe
from torch_rechub.trainers import CTRTrainer

__all__ = ["train_once"]


def train_once(setting: Setting, seed: int, data: Path, folder: Path, device: str = "cpu") -> dict[str, Any]:
    """Test AUC and log loss of the weights that were best on the validation split; an interrupted training is resumed."""
    torch.set_num_threads(1)
    frappe = load_frappe(data)
    torch.manual_seed(seed)
    _, columns = frappe.feature_columns(10)
    model = setting.make(columns)
    train, val, test = DataGenerator(*frappe.train).generate_dataloader(*frappe.val, *frappe.test, batch_size=4096, seed=seed)
    place = folder / f"{setting.name}-{seed}"
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 1e-3},
        regularization_params=setting.penalty,
        scheduler_fn=torch.optim.lr_scheduler.ReduceLROnPlateau,
        scheduler_params={"factor": 0.1, "patience": 0, "threshold": 0.0},
        n_epoch=100,
        earlystop_patience=2,
        device=device,
        model_path=place,
        clip_norm=10.0,
        progress=False,
    )
    began = time.process_time()
    history = trainer.fit(train, val, resume="auto")
    seconds = time.process_time() - began
    measured = trainer.measure(model, test)
    shutil.rmtree(place)
    return {
        "test_auc": measured["auc"],
        "test_logloss": measured["logloss"],
        "val_auc": history.best["auc"],
        "epochs": len(history),
        "cpu_seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
