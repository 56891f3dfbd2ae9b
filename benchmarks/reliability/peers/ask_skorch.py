"""skorch: EarlyStopping(load_best=True), Checkpoint on the monitored score, f_params by default; nothing saves within an epoch."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from asking import Counter, epoch_of, load, main
from skorch import NeuralNet
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split

ROWS = np.zeros((2, 1), dtype=np.float32), np.zeros(2, dtype=np.float32)


class MinusMean(torch.nn.Module):
    def forward(self, output, _):
        return -output.mean()


class Peer:
    def net(self, folder, callbacks, n):
        options = {"optimizer__lr": 1.0, "max_epochs": n, "train_split": predefined_split(Dataset(*ROWS)), "verbose": 0}
        return NeuralNet(Counter, MinusMean, optimizer=torch.optim.SGD, callbacks=callbacks, **options)

    def checkpoint(self, folder):
        name = "params.pt" if self.keep == 1 else "params_{last_epoch[epoch]}.pt"
        return Checkpoint(monitor="score_best", dirname=str(folder), f_params=name)

    def run(self, folder, scores, patience, monitor, min_delta):
        given = iter(scores)
        stopper = EarlyStopping(
            monitor=monitor,
            patience=patience,
            lower_is_better=False,
            load_best=True,
            **({} if min_delta is None else {"threshold": min_delta, "threshold_mode": "rel"}),
        )
        score = EpochScoring(lambda *_: next(given), name="score", lower_is_better=False)
        net = self.net(folder, [("score", score), ("save", self.checkpoint(folder)), ("stop", stopper)], len(scores))
        self.facts["option"] = "threshold, threshold_mode='rel'"
        try:
            net.fit(*ROWS)
        finally:
            self.facts.update(held=epoch_of(net.module_.state_dict()), file=load(lambda: self.saved(folder)["newest"]))
            self.facts["best"] = load(lambda: net.history[stopper.best_epoch_ - 1, "score"])

    def saved(self, folder):
        def read(file):
            net = self.net(folder, [], 1).initialize()
            net.load_params(f_params=file)
            return epoch_of(net.module_.state_dict())

        found = [load(lambda file=file: read(file)) for file in sorted(folder.glob("params*.pt"))]
        return {"newest": found[-1] if found else "no file", "others": found[:-1]}


if __name__ == "__main__":
    main(Peer())
