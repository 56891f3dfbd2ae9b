"""What one of two processes does for test_seams_two_processes.py; ``torchrun`` starts it with a folder."""

import math
import os
import sys
from pathlib import Path

import torch
from small import columns, deepfm
from tasks import RANK, TASKS, loaders_of, trainer_of

from torch_rechub.data import DataGenerator
from torch_rechub.storage import save_weights
from torch_rechub.trainers import CTRTrainer

SIZE = int(os.environ.get("WORLD_SIZE", "1"))


class Counts(CTRTrainer):
    """Its metric is the number of rows that it was given."""

    def evaluate(self, model, data_loader):
        return float(sum(len(batch[1]) for batch in data_loader))


def odd_rows():
    """25 rows: the last batch has one, and none for the second rank. The model has a buffer that no step changes."""
    x, y = columns(25)
    model = deepfm()
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    trainer = Counts(model, n_epoch=1, model_path=None, progress=False)
    trainer.fit(*DataGenerator(x, y).generate_dataloader(x_val=x, y_val=y, batch_size=8 // SIZE, seed=0)[:2])
    return {"odd rows/mask": model.mask, "odd rows/counted": torch.tensor(trainer.history["auc"])}


class Stream(torch.utils.data.IterableDataset):
    """Batches without a length."""

    def __iter__(self):
        return iter(loaders_of("criterion with a parameter")[0])


def run(folder: Path) -> None:
    results = {}
    for task in TASKS:
        trainer = trainer_of(task, accumulate=2, n_epoch=2)
        trainer.fit(*loaders_of(task))
        tensors = dict((*trainer.objective.named_parameters(), *trainer.objective.named_buffers()))
        results |= {f"{task}/{name}": tensor.detach() for name, tensor in tensors.items()}
        results[f"{task}/loss"] = torch.tensor(trainer.history["loss"], dtype=torch.float64)
        results[f"{task}/monitor"] = torch.tensor(trainer.history[trainer.monitor], dtype=torch.float64)
    results |= odd_rows()
    save_weights(folder / f"rank-{RANK}.pth", results)
    try:
        trainer_of("criterion with a parameter").fit(Stream())
    except ValueError as error:
        (folder / f"refused-{RANK}.txt").write_text(str(error))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
