"""torch-rechub 0.9.0: CTRTrainer; it writes model.pth once, after the last epoch, and cannot resume."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from asking import Counter, epoch_of, load, main
from torch.utils.data import DataLoader

from torch_rechub.trainers import CTRTrainer


class ByName(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x["x"])


class Peer:
    named_monitor = False

    def run(self, folder, scores, patience, monitor, min_delta):
        model, given = ByName(Counter()), iter(scores)
        rows = DataLoader([({"x": torch.zeros(1)}, 0.0), ({"x": torch.zeros(1)}, 1.0)], batch_size=2)
        trainer = CTRTrainer(model, torch.optim.SGD, {"lr": 1.0}, n_epoch=len(scores), earlystop_patience=patience, model_path=str(folder))
        trainer.criterion = lambda scored, _: -scored.mean()
        trainer.evaluate_fn = lambda targets, predicts: next(given)
        self.facts["option"] = "none"
        try:
            trainer.fit(rows, rows)
        finally:
            self.facts.update(held=epoch_of(model.state_dict()), file=load(lambda: self.saved(folder)["newest"]))
            self.facts["best"] = float(trainer.early_stopper.best_auc)

    def saved(self, folder):
        return {"newest": load(lambda: epoch_of(torch.load(folder / "model.pth", weights_only=True))), "others": []}


if __name__ == "__main__":
    main(Peer())
