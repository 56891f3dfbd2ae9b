"""Lightning: EarlyStopping, and ModelCheckpoint with save_last; the best weights are read from best_model_path after fit."""

import logging
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import lightning
from asking import LONG_EPOCHS, SAVE_EVERY, Counter, Network, epoch_of, load, long_rows, main
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
ROWS = DataLoader(torch.zeros(2, 1), batch_size=2)
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Scored(lightning.LightningModule):
    def __init__(self, scores=()):
        super().__init__()
        self.model, self.scores = Counter(), iter(scores)

    def training_step(self, batch, _):
        return -self.model(batch).mean()

    def validation_step(self, batch, _):
        self.log("score", next(self.scores))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Long(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = Network()

    def training_step(self, batch, _):
        return torch.nn.functional.mse_loss(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def read(file):
    return epoch_of(torch.load(file, weights_only=False)["state_dict"])


class Peer:
    def run(self, folder, scores, patience, monitor, min_delta):
        model = Scored(scores)
        delta = {} if min_delta is None else {"min_delta": 10 * min_delta}
        stopper = EarlyStopping(monitor, patience=patience, mode="max", **delta)
        keeper = ModelCheckpoint(str(folder), monitor="score", mode="max", save_top_k=self.keep, save_last=True)
        trainer = lightning.Trainer(
            max_epochs=len(scores), callbacks=[stopper, keeper], num_sanity_val_steps=0, log_every_n_steps=1, **QUIET
        )
        self.facts["option"] = "min_delta (absolute)"
        try:
            trainer.fit(model, ROWS, ROWS)
        finally:
            self.facts.update(held=epoch_of(model.state_dict()), file=load(lambda: read(keeper.best_model_path)))
            self.facts["best"] = load(lambda: float(stopper.best_score))

    def saved(self, folder):
        found = {file.stem: load(lambda file=file: read(file)) for file in sorted(folder.glob("*.ckpt"))}
        newest = found.pop("last", "no file")
        return {"newest": newest, "others": list(found.values())}

    def long(self, folder, again):
        lightning.seed_everything(0, verbose=False)
        model, saver = Long(), ModelCheckpoint(str(folder), filename="{step}", every_n_train_steps=SAVE_EVERY, save_last=True)
        trainer = lightning.Trainer(max_epochs=LONG_EPOCHS, callbacks=[saver], limit_val_batches=0, log_every_n_steps=1, **QUIET)
        rows = DataLoader(TensorDataset(*long_rows()), batch_size=8, shuffle=True)
        trainer.fit(model, rows, ckpt_path="last" if again else None)
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


if __name__ == "__main__":
    main(Peer())
