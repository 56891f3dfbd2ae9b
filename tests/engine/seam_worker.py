"""What one of two processes does for test_seams_two_processes.py; ``torchrun`` starts it with a folder."""

import sys
from pathlib import Path

import torch
from tasks import RANK, TASKS, loaders_of, trainer_of

from torch_rechub.storage import save_weights


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
    save_weights(folder / f"rank-{RANK}.pth", results)
    try:
        trainer_of("criterion with a parameter").fit(Stream())
    except ValueError as error:
        (folder / f"refused-{RANK}.txt").write_text(str(error))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
