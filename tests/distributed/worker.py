"""The work of one of two processes in the tests of this folder; ``torchrun`` starts it with the name of a scenario and a folder."""

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


def without_seconds(history):
    """A history without the measured times."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


class RequestAt(Callback):
    """Makes a request after one optimizer step, in one process only."""

    part_of_run = False

    def __init__(self, rank, step, request):
        self.rank, self.step, self.request = rank, step, request

    def on_batch_end(self, trainer):
        if self.rank == RANK and trainer.state.step == self.step:
            self.request(trainer)


class CountingLogger:
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


#: Settings in which two processes must equal one process with the batches of both.
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
    """Train with one of the settings; weights and history."""
    train, val = loaders(weighted="weighted" in name)
    net = without_batch_norm(model())
    history = trainer_of(net, **SETTINGS[name]).fit(train, val)
    return {key: value.tolist() for key, value in net.state_dict().items()}, without_seconds(history), digest(net)


def random_trainer(folder, *callbacks, **options):
    """A trainer whose model has dropout and batch norm."""
    return trainer_of(model(dropout=0.3), folder, callbacks=[Checkpoint(every_n_steps=2), *callbacks], accumulate=2, val_every=2, **options)


def interrupted(folder):
    """The digests of an uninterrupted run, and of runs that are interrupted in several ways and resumed."""
    uninterrupted = random_trainer(folder / "uninterrupted")
    histories = {"uninterrupted": without_seconds(uninterrupted.fit(*loaders()))}
    digests = {"uninterrupted": digest(uninterrupted.model)}
    requests_of = {
        "pause": lambda trainer: trainer.request_pause("enough for now"),
        "signal": lambda trainer: os.kill(os.getpid(), signal.SIGTERM),
    }
    for rank, (name, request) in enumerate(requests_of.items()):
        first = random_trainer(folder / name, RequestAt(rank, 3 + rank, request))
        status = None
        try:
            first.fit(*loaders())
        except SystemExit as leaving:
            status = leaving.code
        histories[f"{name} at"] = [first.state.step, status]
        torch.manual_seed(100 + RANK)
        second = random_trainer(folder / name)
        histories[name] = without_seconds(second.fit(*loaders(), resume="auto"))
        digests[name] = digest(second.model)
    return histories, digests


def requests(folder):
    """The effect of requests and numbers that differ from process to process."""
    logger = CountingLogger()
    stopped = trainer_of(
        model(), folder, callbacks=[RequestAt(1, 3, lambda trainer: trainer.request_stop("rank 1 says so"))], model_logger=logger
    )
    stopped.fit(*loaders())
    validated = trainer_of(model(), callbacks=[RequestAt(1, 2, lambda trainer: trainer.request_validation())])
    validated.fit(*loaders())
    differing = trainer_of(model(), earlystop_patience=1)
    differing.evaluate_fn = lambda y_true, y_pred: float(len(y_true) + RANK) - 10 * len(differing.history)
    differing.fit(*loaders())
    unseeded = trainer_of(model(seed=RANK))
    train, val = loaders()
    unseeded.fit(TableLoader(train.table, BATCH // SIZE, shuffle=True), val)
    return {
        "stopped": [stopped.state.step, stopped.history.stop_reason, digest(stopped.model), stopped.early_stopper.best_auc],
        "validated": [record["step"] for record in validated.history],
        "differing": [differing.history["<lambda>" if "<lambda>" in differing.history[0] else "metric"], differing.history.stop_reason],
        "unseeded": digest(unseeded.model),
        "calls": logger.calls,
    }


def foreign():
    """The results with a loader of torch, which its sampler shares among the processes."""
    x, y = columns(48, 0)
    rows = [({name: column[i] for name, column in x.items()}, y[i]) for i in range(48)]
    sampler = torch.utils.data.DistributedSampler(rows, num_replicas=SIZE, rank=RANK, seed=1)
    loader = torch.utils.data.DataLoader(rows, batch_size=8, sampler=sampler)
    net = model()
    history = trainer_of(net).fit(loader, loader)
    return {"digest": digest(net), "rows": history["rows"], "epoch": sampler.epoch, "auc": history["auc"]}


def laws(folder):
    results = {"as one": {name: as_one(name) for name in SETTINGS}}
    results["interrupted"], results["digests"] = interrupted(folder)
    results["requests"] = requests(folder / "requests")
    results["foreign"] = foreign()
    try:
        trainer_of(model(), clip_norm=1.0 + RANK).fit(*loaders())
    except ValueError as error:
        results["refused"] = str(error)
    (folder / f"rank-{RANK}.json").write_text(json.dumps(results))


def full(folder):
    """The disk is full when the first weights are to be saved; only rank 0 writes."""
    import torch_rechub.basic.callback.checkpoint as checkpoint

    def failing(path, weights):
        raise OSError(28, "No space left on device", str(path))

    checkpoint.save_weights = failing
    write_error(folder, trainer_of(model(), folder, val_every=2))


def killed(folder):
    """The second process is killed within an epoch."""
    request = RequestAt(1, 3, lambda trainer: os.kill(os.getpid(), signal.SIGKILL))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the other one, which has to write its error first
    write_error(folder, trainer_of(model(), folder, callbacks=[request]))


def write_error(folder, trainer):
    """Write down the error with which ``fit`` ended."""
    try:
        trainer.fit(*loaders())
    except Exception as error:
        (folder / f"rank-{RANK}.txt").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    {"laws": laws, "full": full, "killed": killed}[sys.argv[1]](Path(sys.argv[2]))
