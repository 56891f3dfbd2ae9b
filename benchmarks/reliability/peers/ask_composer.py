"""Composer: EarlyStopper, checkpoints by save_folder (it has none that follows a score); load_path to resume.

It requires torch below 2.7.1 and is run with 2.13 here. Its torchvision, built for CUDA, lacks two operators that are never called.
"""
# ruff: noqa: E402

import sys
import warnings
from pathlib import Path

import torch

LIBRARY = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
sys.path.insert(0, str(Path(__file__).parents[1]))
warnings.simplefilter("ignore")
from asking import LONG_EPOCHS, SAVE_EVERY, Counter, Network, Toy, epoch_of, load, long_rows, main
from composer import ComposerModel, Evaluator, Trainer
from composer.callbacks import EarlyStopper
from composer.utils import dist
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Metric

QUIET = {"device": "cpu", "progress_bar": False, "save_filename": "ba{batch}.pt"}


class Score(Metric):
    """The scripted score of the epoch."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def update(self, *_):
        """Nothing is measured."""

    def compute(self):
        return torch.tensor(self.scores[Toy.steps - 1])


class Scored(ComposerModel):
    def __init__(self, scores):
        super().__init__()
        self.model, self.score = Counter(), Score(scores)

    def forward(self, batch):
        return self.model(batch[0])

    def loss(self, outputs, _):
        return -outputs.mean()

    def get_metrics(self, is_train=False):
        return {} if is_train else {"score": self.score}

    def eval_forward(self, batch, outputs=None):
        return self.forward(batch)

    def update_metric(self, batch, outputs, metric):
        metric.update()


class Long(ComposerModel):
    def __init__(self):
        super().__init__()
        self.model = Network()

    def forward(self, batch):
        return self.model(batch[0])

    def loss(self, outputs, batch):
        return torch.nn.functional.mse_loss(outputs, batch[1])


def read(file):
    return epoch_of(torch.load(file, weights_only=False)["state"]["model"])


class Peer:
    def run(self, folder, scores, patience, monitor, min_delta):
        model, rows = Scored(scores), DataLoader(TensorDataset(torch.zeros(2, 1), torch.zeros(2)), batch_size=2)
        stopper = EarlyStopper(monitor, "eval", comp="greater", patience=patience, min_delta=10 * (min_delta or 0.0))
        trainer = Trainer(
            model=model,
            train_dataloader=rows,
            eval_dataloader=Evaluator(label="eval", dataloader=rows, metric_names=["score"]),
            max_duration=f"{len(scores)}ep",
            optimizers=torch.optim.SGD(model.parameters(), lr=1.0),
            callbacks=[stopper],
            save_folder=str(folder),
            save_num_checkpoints_to_keep=self.keep,
            **QUIET,
        )
        self.facts["option"] = "min_delta (absolute)"
        try:
            trainer.fit()
        finally:
            self.facts.update(held=epoch_of(model.state_dict()), file=load(lambda: self.saved(folder)["newest"]))
            self.facts["best"] = load(lambda: float(stopper.best))

    def saved(self, folder):
        """``latest-rank0.pt`` is a link to the newest of the others."""
        found = [load(lambda file=file: read(file)) for file in sorted(folder.glob("ba*.pt"))]
        return {"newest": load(lambda: read(folder / "latest-rank0.pt")), "others": found}

    def long(self, folder, again):
        torch.manual_seed(0)
        model, rows = Long(), TensorDataset(*long_rows())
        trainer = Trainer(
            model=model,
            train_dataloader=DataLoader(rows, batch_size=8, sampler=dist.get_sampler(rows, shuffle=True)),
            max_duration=f"{LONG_EPOCHS}ep",
            optimizers=torch.optim.Adam(model.parameters(), lr=0.01),
            save_folder=str(folder),
            save_interval=f"{SAVE_EVERY}ba",
            save_overwrite=True,
            load_path=str(folder / "latest-rank0.pt") if again else None,
            seed=0,
            **QUIET,
        )
        trainer.fit()
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


if __name__ == "__main__":
    main(Peer())
