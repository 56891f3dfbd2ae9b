"""The questions, each run by one library in a process of its own; needs torch and nothing of ours.

A peer's script has a class with three methods and hands it to :func:`main`:

- ``run(folder, scores, patience, monitor, min_delta)`` trains one step an epoch, with the library's early stopping and saving by its
  best documented options. The k-th validation scores ``scores[k - 1]``, larger is better. It fills ``self.facts`` meanwhile.
- ``saved(folder)`` reads the files of the folder, in the library's own way: ``{"newest": ..., "others": [...]}``.
- ``long(folder, again)`` trains a dropout network on shuffled rows with saves within the epoch; ``again`` resumes from the last one.

The toy model's one weight is the number of its optimizer steps, which gives the epoch of a set of weights.
"""

import json
import logging
import math
import os
import resource
import signal
import sys
import warnings
from pathlib import Path

import torch

GOOD = [0.5, 0.6, 0.7, 0.8]
STEPS_TO_DIE, SAVE_EVERY, LONG_EPOCHS = 10, 4, 3  # of the long run: 5 steps an epoch, so the last save is in the middle of epoch 2
HALF = 600_000  # bytes: half of what a checkpoint of Counter holds
HARD = resource.getrlimit(resource.RLIMIT_FSIZE)[1]


class Toy(torch.nn.Module):
    """Common to both toys: they count their training steps, and an action may run at one of them."""

    steps = 0
    at_step = None  # (step, action): of the class, so that copies made by a library share it

    def count(self):
        if self.training and torch.is_grad_enabled():
            tick()


def tick():
    Toy.steps += 1
    if Toy.at_step is not None and Toy.at_step[0] == Toy.steps:
        Toy.at_step[1]()


class Counter(Toy):
    """Under SGD with rate 1 and the loss ``-mean(output)``, ``w`` grows by one each step; the output is always 0.5."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.ballast = torch.nn.Parameter(torch.zeros(2 * HALF // 4), requires_grad=False)

    def forward(self, x):
        self.count()
        return 0.5 + (self.w - self.w.detach()) + 0 * x[:, 0]


class Network(Toy):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1))

    def forward(self, x):
        self.count()
        return self.layers(x)[:, 0]


def long_rows():
    """40 rows of 8 columns, and a number for each."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(40, 8, generator=random), torch.randn(40, generator=random)


def epoch_of(weights):
    """The epoch of a ``state_dict`` (or of anything that contains ``w``)."""
    return next(int(value) for name, value in weights.items() if name.split(".")[-1] == "w")


def load(*readers):
    """The result of the first reader that works, or in words why none does."""
    try:
        return readers[0]()
    except BaseException as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"


def arm(ending):
    """From now on no file may grow beyond half a checkpoint: the kernel ends the process there, or refuses the write like a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if ending == "killed" else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, HARD))


def numbers(value):
    """Values for JSON: NaN becomes text."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class LogWarnings(logging.Handler):
    """Stores the warnings and errors of the log."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage().splitlines()[0][:200])


def observe(peer, folder, scores, patience=10, monitor="score", min_delta=None):
    """One run and its facts: validations, the weights in memory and in the best file, and how it ended."""
    Toy.steps, peer.facts, log = 0, {}, LogWarnings()
    logging.getLogger().addHandler(log)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            peer.run(folder, scores, patience, monitor, min_delta)
        except BaseException as error:
            peer.facts.update(raised=type(error).__name__, message=str(error)[:300])
    said = [*log.lines, *(str(warning.message).splitlines()[0][:200] for warning in caught)]
    about = [line for line in said if "scoer" in line or "early stop" in line.lower()]
    return numbers({"epochs_trained": Toy.steps, **peer.facts, "said": about[:2]})


def first_nan(peer, folder):
    return observe(peer, folder, [math.nan, *GOOD[:3]])


def no_trigger(peer, folder):
    return observe(peer, folder, [0.5, 0.9, 0.6, 0.7])


def patience(peer, folder):
    return observe(peer, folder, [0.5, *[0.4] * 7], patience=2)


def missing(peer, folder):
    return observe(peer, folder, GOOD, monitor="scoer")


def negative_better(peer, folder):
    """Each validation is better by 1 %, the threshold is 0.5 %."""
    return observe(peer, folder, [-10.0, -9.9, -9.8, -9.7, -9.6, -9.5], patience=2, min_delta=0.005)


def negative_worse(peer, folder):
    """Each validation is worse by 0.1 %."""
    return observe(peer, folder, [-10.0, -10.01, -10.02, -10.03, -10.04, -10.05], patience=2, min_delta=0.005)


def ctrl_c(peer, folder):
    Toy.at_step = (4, lambda: os.kill(os.getpid(), signal.SIGINT))
    return observe(peer, folder, [0.5, 0.9, 0.6, 0.7, 0.7, 0.7])


def killed(peer, folder):
    Toy.at_step = (2, lambda: arm("killed"))
    return observe(peer, folder, GOOD)


def full(peer, folder):
    Toy.at_step = (2, lambda: arm("full"))
    return observe(peer, folder, GOOD)


def killed_of_two(peer, folder):
    """The same where the library is to keep two files."""
    peer.keep = 2
    return killed(peer, folder)


def saved(peer, folder):
    return peer.saved(folder)


def uninterrupted(peer, folder):
    return {"weights": [value.hex() for value in peer.long(folder, False).double().tolist()], "steps": Toy.steps}


def interrupted(peer, folder):
    Toy.at_step = (STEPS_TO_DIE, lambda: os._exit(9))
    return uninterrupted(peer, folder)


def again(peer, folder):
    return {"weights": [value.hex() for value in peer.long(folder, True).double().tolist()], "steps": Toy.steps}


QUESTIONS = (
    first_nan,
    no_trigger,
    patience,
    missing,
    negative_better,
    negative_worse,
    ctrl_c,
    killed,
    full,
    killed_of_two,
    saved,
    uninterrupted,
    interrupted,
    again,
)


def main(peer):
    """Run the question named on the command line, in the folder named there; the last printed line is the result."""
    torch.set_num_threads(1)
    peer.keep = 1  # of the best
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    question = next(question for question in QUESTIONS if question.__name__ == name)
    result = json.dumps(question(peer, folder))
    resource.setrlimit(resource.RLIMIT_FSIZE, (HARD, HARD))
    print("\nANSWER " + result, flush=True)
