"""After SIGINT, SIGTERM or a notice file, the run finishes its step, saves, and leaves with the signal's own exception."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import pytest
import zoo
from resuming import Recipe, assert_same, result
from torch.utils.data import DataLoader

from torch_rechub.basic.callback import Callback, GracefulStop
from torch_rechub.basic.features import DenseFeature
from torch_rechub.data import DataGenerator
from torch_rechub.models.ranking import DeepFM

LEAVES = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}
PHASES = [
    "on_epoch_begin",
    "on_batch_begin",
    "on_backward_end",
    "on_batch_end",
    "on_validation_begin",
    "on_validation_batch_end",
    "on_validation_end",
    "on_save",
    "on_record",
    "on_epoch_end",
]


def sends_signal(hook, n, *numbers):
    """A callback that sends signals to this process at the n-th call of a hook."""

    class SendsSignals(Callback):
        part_of_run = False
        left = n

    def send(self, trainer):
        self.left -= 1
        if self.left == 0:
            for number in numbers:
                os.kill(os.getpid(), number)

    setattr(SendsSignals, hook, send)
    return SendsSignals()


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]


@pytest.mark.parametrize("number", LEAVES)
@pytest.mark.parametrize("hook", PHASES)
def test_a_signal_in_every_phase_saves_and_leaves(hook, number, tmp_path):
    """A signal at any hook ends the run with the signal's exception, restores the handlers, and the run resumes bit for bit."""
    recipe = Recipe(make=lambda: zoo.model(dropout=0.3), val_every=2)
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    before = handlers()
    with pytest.raises(LEAVES[number]) as left:
        recipe.start(tmp_path / "run", None, GracefulStop(), sends_signal(hook, 2, number))
    if number == signal.SIGTERM:
        assert left.value.code == 143
    assert handlers() == before
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


def test_the_history_says_what_stopped_the_run(tmp_path):
    """The history gives the signal as the stop reason, and after resuming the reason of the complete run."""
    recipe = Recipe()
    trainers = []

    class Keep(Callback):
        part_of_run = False

        def on_fit_begin(self, trainer):
            trainers.append(trainer)

    with pytest.raises(KeyboardInterrupt):
        recipe.start(tmp_path, None, Keep(), sends_signal("on_batch_end", 2, signal.SIGINT))
    assert trainers[0].history.stop_reason == "stopped by SIGINT"
    assert trainers[0].state.step == 2
    assert recipe.start(tmp_path, "auto").history.stop_reason is None


class WaitingLoader:
    """A loader that waits for a batch until a signal comes, and otherwise without end."""

    def __init__(self, loader, at, number):
        self.loader, self.at, self.number = loader, at, number

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for i, batch in enumerate(self.loader):
            if i == self.at and self.number is not None:
                os.kill(os.getpid(), self.number)
                threading.Event().wait(60)
                raise AssertionError("the wait was not left")
            yield batch


@pytest.mark.parametrize("number", LEAVES)
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_signal_while_waiting_for_data(at, number, tmp_path):
    """A signal ends a wait for data at once, also for the first batch, and the interrupted batch is drawn again."""

    def recipe(number):
        train, val = zoo.loaders()
        return Recipe(make=lambda: zoo.model(dropout=0.3), loaders=lambda: (WaitingLoader(list(train.in_order()), at, number), val))

    expected = result(recipe(None).start(tmp_path / "uninterrupted", None))
    with pytest.raises(LEAVES[number]):
        recipe(number).start(tmp_path / "run", None)
    assert_same(result(recipe(None).start(tmp_path / "run", "auto", seed=9)), expected)


@pytest.mark.parametrize("foreign", [False, True])
def test_a_signal_leaves_no_worker_behind(foreign, tmp_path):
    """Worker processes ignore the signal and have ended when fit has returned, although the exception still exists."""

    def loaders():
        x, x_val = zoo.columns(48), zoo.columns(24, seed=7)
        train, val, _ = DataGenerator(x, zoo.labels(x)).generate_dataloader(
            x_val, zoo.labels(x_val, 7), batch_size=16, seed=3, num_workers=1
        )
        alike = DataLoader(train.table, batch_sampler=train.batch_sampler, collate_fn=train.collate_fn, num_workers=1)
        return (alike if foreign else train), val

    recipe = Recipe(loaders=loaders)
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    with pytest.raises(SystemExit) as left:
        recipe.start(tmp_path / "run", None, sends_signal("on_batch_end", 2, signal.SIGTERM))
    assert multiprocessing.active_children() == []
    assert left.value.code == 143
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


def test_an_error_of_the_loader_leaves_no_worker_behind(tmp_path):
    """Worker processes have ended where the loader raises and the exception is kept."""
    dataset = [({"age": float(i), "user": i % 12}, float(i % 2)) for i in range(16)]
    dataset[9] = None
    model = DeepFM([DenseFeature("age")], [zoo.USER], {"dims": [2]})
    with pytest.raises(TypeError):
        zoo.trainer(model).fit(DataLoader(dataset, batch_size=4, num_workers=1))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("hook", ["on_batch_begin", "on_validation_batch_end", "on_save"])
def test_a_second_signal_leaves_at_once(hook, tmp_path):
    """A second signal ends the run within the step, and it resumes from the save before."""
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    before = handlers()
    with pytest.raises(KeyboardInterrupt):
        recipe.start(
            tmp_path / "run", None, sends_signal(hook, 3 if hook != "on_validation_batch_end" else 2, signal.SIGINT, signal.SIGINT)
        )
    assert handlers() == before
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


@pytest.mark.parametrize("hook", ["on_batch_end", "on_validation_batch_end"])
def test_a_notice_file_stops_the_run(hook, tmp_path):
    """A notice file makes the run save and leave with status 75, also within a validation."""
    notice = tmp_path / "notice"

    class Writes(Callback):
        part_of_run = False

        def announce(self, trainer):
            if trainer.state.step >= 2:
                notice.touch()

    setattr(Writes, hook, Writes.announce)
    stop = GracefulStop(notice)
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    real, stop._test_notice = stop._test_notice, lambda trainer: (setattr(stop, "_next_test", 0.0), real(trainer))
    with pytest.raises(SystemExit) as left:
        recipe.start(tmp_path / "run", None, Writes(), stop)
    assert left.value.code == 75
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


def test_a_run_in_another_thread_installs_no_handlers(tmp_path):
    """A run in another thread trains to the end without signal handlers."""
    before, seen, done = handlers(), [], []

    class StoresHandlers(Callback):
        def on_batch_end(self, trainer):
            seen.append(handlers())

    thread = threading.Thread(target=lambda: done.append(zoo.trainer(callbacks=[StoresHandlers()]).fit(*zoo.loaders())))
    thread.start()
    thread.join()
    assert len(done[0]) == 3
    assert all(now == before for now in seen)


def test_a_handler_of_the_user_is_kept(tmp_path):
    """A SIGTERM handler of the user is called, and the run does not stop."""
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        trainer = Recipe().start(tmp_path, None, sends_signal("on_batch_end", 2, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert trainer.state.step == 8


def test_a_signal_while_handlers_are_restored_restores_all(tmp_path, monkeypatch):
    """A signal that comes between the restoring of two handlers raises its exception, and both are restored."""
    put = signal.signal
    former = put(signal.SIGCHLD, lambda number, frame: None)  # as torch's DataLoader sets one
    before, struck = handlers(), []

    def strike(number, handler):
        put(number, handler)
        present = dict(zip(LEAVES, handlers(), strict=False))
        ours = [other for other in LEAVES if present[other] not in before]
        if handler in before and len(ours) == 1 and not struck:
            struck.extend(ours)
            signal.raise_signal(ours[0])

    monkeypatch.setattr(signal, "signal", strike)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
            Recipe().start(tmp_path, None)
        assert struck
        assert caught.type is LEAVES[struck[0]]
        assert handlers() == before
    finally:
        put(signal.SIGCHLD, former)
