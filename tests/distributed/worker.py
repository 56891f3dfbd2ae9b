"""What one of two processes does in the tests of this folder; ``torchrun`` starts it with the name of a scenario and a folder."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from torch_rechub.basic.callback import Callback, Checkpoint
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.data import DataGenerator, TableLoader
from torch_rechub.models.ranking import DeepFM
from torch_rechub.storage.saves import tensor_digest
from torch_rechub.trainers import CTRTrainer

RANK, SIZE = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
N_TRAIN, N_VAL, BATCH = 145, 61, 24  # the last batch of an epoch has one row: none for the second rank


def columns(n, seed):
    draw = torch.Generator().manual_seed(seed)
    x = {"user": torch.randint(0, 12, (n,), generator=draw), "item": torch.randint(0, 30, (n,), generator=draw)}
    x["price"] = torch.rand(n, generator=draw)
    return x, ((x["user"] + x["item"]) % 3 == 0).float()


def loaders(weighted=False, **options):
    (x, y), (x_val, y_val) = columns(N_TRAIN, 0), columns(N_VAL, 1)
    weight = 0.5 + x["price"] if weighted else None
    generator = DataGenerator(x, y) if weight is None else DataGenerator(x, y, weight=weight)
    train, val, _ = generator.generate_dataloader(x_val, y_val, batch_size=BATCH // SIZE, **{"seed": 3, **options})
    return train, val


def model(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    sparse = [SparseFeature("user", 12, 4), SparseFeature("item", 30, 4)]
    return DeepFM([DenseFeature("price"), *sparse], sparse, {"dims": [8], "dropout": dropout})


def trainer_of(net, folder=None, **options):
    return CTRTrainer(net, n_epoch=2, model_path=folder, progress=False, **options)


def digest(net):
    return tensor_digest({**dict(net.named_parameters()), **{f"b.{name}": buffer for name, buffer in net.named_buffers()}})


def plain(history):
    """A history without what the clock says."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


class Asking(Callback):
    """Asks for something after one optimizer step, in one process alone."""

    part_of_run = False

    def __init__(self, rank, step, ask):
        self.rank, self.step, self.ask = rank, step, ask

    def on_batch_end(self, trainer):
        if self.rank == RANK and trainer.state.step == self.step:
            self.ask(trainer)


class Listening:
    """A logger that counts its calls."""

    def __init__(self):
        self.calls = []

    def log_hyperparams(self, params):
        self.calls.append("begin")

    def log_metrics(self, metrics, step=None):
        self.calls.append(step)

    def finish(self):
        self.calls.append("end")


def without_batch_norm(net):
    for module in net.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.BatchNorm1d):
                setattr(module, name, torch.nn.Identity())
    return net


#: Settings under which two processes must do what one does with batches of both.
SETTINGS = {
    "adam": {},
    "clipped": {"clip_norm": 0.05, "val_every": 3},
    "momentum": {"optimizer_fn": torch.optim.SGD, "optimizer_params": {"lr": 0.1, "momentum": 0.9}},
    "decay": {"optimizer_params": {"lr": 1e-3, "weight_decay": 1e-2}},
    "penalty": {"regularization_params": {"embedding_l2": 1e-3, "dense_l2": 1e-3}},
    "weighted, accumulated": {"accumulate": 2},
    "dense tables": {"optimizer_fn": torch.optim.NAdam, "optimizer_params": {"lr": 1e-2}},
}


def as_one(name):
    """Train under one of the settings; weights and history."""
    train, val = loaders(weighted="weighted" in name)
    net = without_batch_norm(model())
    history = trainer_of(net, **SETTINGS[name]).fit(train, val)
    return {key: value.tolist() for key, value in net.state_dict().items()}, plain(history), digest(net)


def deep(folder, *callbacks, **options):
    """A trainer whose model draws and has batch norm."""
    return trainer_of(model(dropout=0.3), folder, callbacks=[Checkpoint(every_n_steps=2), *callbacks], accumulate=2, val_every=2, **options)


def as_interrupted(folder):
    """The digests of a whole run, and of one that is broken off in each of several ways and gone on with."""
    whole = deep(folder / "whole")
    found = {"whole": plain(whole.fit(*loaders()))}
    digests = {"whole": digest(whole.model)}
    asks = {
        "pause": lambda trainer: trainer.request_pause("enough for now"),
        "signal": lambda trainer: os.kill(os.getpid(), signal.SIGTERM),
    }
    for rank, (name, ask) in enumerate(asks.items()):
        first = deep(folder / name, Asking(rank, 3 + rank, ask))
        status = None
        try:
            first.fit(*loaders())
        except SystemExit as leaving:
            status = leaving.code
        found[f"{name} at"] = [first.state.step, status]
        torch.manual_seed(100 + RANK)
        second = deep(folder / name)
        found[name] = plain(second.fit(*loaders(), resume="auto"))
        digests[name] = digest(second.model)
    return found, digests


def as_told(folder):
    """What becomes of wishes and numbers that differ from process to process."""
    logger = Listening()
    stopped = trainer_of(
        model(), folder, callbacks=[Asking(1, 3, lambda trainer: trainer.request_stop("rank 1 says so"))], model_logger=logger
    )
    stopped.fit(*loaders())
    checked = trainer_of(model(), callbacks=[Asking(1, 2, lambda trainer: trainer.request_validation())])
    checked.fit(*loaders())
    apart = trainer_of(model(), earlystop_patience=1)
    apart.evaluate_fn = lambda y_true, y_pred: float(len(y_true) + RANK) - 10 * len(apart.history)
    apart.fit(*loaders())
    unseeded = trainer_of(model(seed=RANK))
    train, val = loaders()
    unseeded.fit(TableLoader(train.table, BATCH // SIZE, shuffle=True), val)
    return {
        "stopped": [stopped.state.step, stopped.history.stop_reason, digest(stopped.model), stopped.early_stopper.best_auc],
        "checked": [record["step"] for record in checked.history],
        "apart": [apart.history["<lambda>" if "<lambda>" in apart.history[0] else "metric"], apart.history.stop_reason],
        "unseeded": digest(unseeded.model),
        "calls": logger.calls,
    }


def as_foreign():
    """A loader of torch's own, shared by its sampler."""
    x, y = columns(48, 0)
    rows = [({name: column[i] for name, column in x.items()}, y[i]) for i in range(48)]
    sampler = torch.utils.data.DistributedSampler(rows, num_replicas=SIZE, rank=RANK, seed=1)
    loader = torch.utils.data.DataLoader(rows, batch_size=8, sampler=sampler)
    net = model()
    history = trainer_of(net).fit(loader, loader)
    return {"digest": digest(net), "rows": history["rows"], "epoch": sampler.epoch, "auc": history["auc"]}


def laws(folder):
    found = {"as one": {name: as_one(name) for name in SETTINGS}}
    found["interrupted"], found["digests"] = as_interrupted(folder)
    found["told"] = as_told(folder / "told")
    found["foreign"] = as_foreign()
    try:
        trainer_of(model(), clip_norm=1.0 + RANK).fit(*loaders())
    except ValueError as error:
        found["refused"] = str(error)
    (folder / f"rank-{RANK}.json").write_text(json.dumps(found))


def full(folder):
    """A disk that is full when the first weights are to be saved; only rank 0 writes there."""
    import torch_rechub.basic.callback.checkpoint as checkpoint

    def failing(path, weights):
        raise OSError(28, "No space left on device", str(path))

    checkpoint.save_weights = failing
    ends(folder, trainer_of(model(), folder, val_every=2))


def killed(folder):
    """The second process is gone in the middle of an epoch."""
    ask = Asking(1, 3, lambda trainer: os.kill(os.getpid(), signal.SIGKILL))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the other one, which shall have its say
    ends(folder, trainer_of(model(), folder, callbacks=[ask]))


def ends(folder, trainer):
    """Writes down by what ``fit`` ended."""
    try:
        trainer.fit(*loaders())
    except Exception as error:
        (folder / f"rank-{RANK}.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    {"laws": laws, "full": full, "killed": killed}[sys.argv[1]](Path(sys.argv[2]))
