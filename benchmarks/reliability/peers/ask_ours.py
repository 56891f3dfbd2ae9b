"""Ours: CTRTrainer, whose built-in callbacks keep and restore the best; fit(resume="auto") with Checkpoint to resume."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from asking import LONG_EPOCHS, SAVE_EVERY, Counter, Network, epoch_of, load, long_rows, main

from torch_rechub.basic.callback import Checkpoint, EarlyStopper
from torch_rechub.data import DataGenerator
from torch_rechub.trainers import CTRTrainer

QUIET = {"progress": False, "device": "cpu"}


class ByName(torch.nn.Module):
    """A model of one column ``x``, which the trainer passes by name."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x["x"].reshape(len(x["x"]), -1).float())


class Columns(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return torch.sigmoid(self.model(torch.stack([x[f"x{column}"].float() for column in range(8)], dim=1)))


class Peer:
    def run(self, folder, scores, patience, monitor, min_delta):
        model, given = ByName(Counter()), iter(scores)
        rows = DataGenerator({"x": torch.zeros(2)}, torch.tensor([0.0, 1.0])).generate_dataloader(batch_size=2)[0]
        stopper = EarlyStopper(patience, min_delta=10 * (min_delta or 0.0))
        misspelt = {} if monitor == "score" else {"monitor": monitor}
        self.facts["option"] = "min_delta (absolute)"
        try:
            trainer = CTRTrainer(
                model,
                torch.optim.SGD,
                {"lr": 1.0},
                n_epoch=len(scores),
                model_path=str(folder),
                callbacks=[stopper, Checkpoint(keep_best=self.keep)],
                **misspelt,
                **QUIET,
            )
            trainer.criterion = lambda scored, _: -scored.mean()
            if not misspelt:
                trainer.evaluate_fn = lambda y_true, y_pred: next(given)
            trainer.fit(rows, rows)
        finally:
            self.facts.update(held=epoch_of(model.state_dict()), file=load(lambda: self.saved(folder)["newest"]))
            self.facts["best"] = float(stopper.best_auc)

    def saved(self, folder):
        return {"newest": load(lambda: epoch_of(torch.load(folder / "model.pth", weights_only=True))), "others": []}

    def long(self, folder, again):
        torch.manual_seed(0)
        x, y = long_rows()
        columns = {f"x{column}": x[:, column] for column in range(8)}
        rows = DataGenerator(columns, (y > 0).float()).generate_dataloader(batch_size=8, seed=0)[0]
        model = Columns(Network())
        saver = Checkpoint(every_n_steps=SAVE_EVERY)
        trainer = CTRTrainer(model, optimizer_params={"lr": 0.01}, n_epoch=LONG_EPOCHS, model_path=str(folder), callbacks=[saver], **QUIET)
        trainer.fit(rows, resume="auto" if again else None)
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


if __name__ == "__main__":
    main(Peer())
