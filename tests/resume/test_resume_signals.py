"""SIGINT, SIGTERM and a notice file: the step is finished, the run saved, and it leaves as the signal would have it."""

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


def strikes(hook, n, *numbers):
    """A callback that sends this process signals at the n-th call of a hook."""

    class Strikes(Callback):
        part_of_run = False
        left = n

    def strike(self, trainer):
        self.left -= 1
        if self.left == 0:
            for number in numbers:
                os.kill(os.getpid(), number)

    setattr(Strikes, hook, strike)
    return Strikes()


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]


@pytest.mark.parametrize("number", LEAVES)
@pytest.mark.parametrize("hook", PHASES)
def test_a_signal_in_every_phase_saves_and_leaves(hook, number, tmp_path):
    """Wherever it comes, the run leaves by the signal's own exception, handlers are put back, and it goes on bit for bit."""
    recipe = Recipe(make=lambda: zoo.model(dropout=0.3), val_every=2)
    expected = result(recipe.start(tmp_path / "whole", None))
    before = handlers()
    with pytest.raises(LEAVES[number]) as left:
        recipe.start(tmp_path / "run", None, GracefulStop(), strikes(hook, 2, number))
    if number == signal.SIGTERM:
        assert left.value.code == 143
    assert handlers() == before
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


def test_the_history_says_what_stopped_the_run(tmp_path):
    """The reason is that of the signal; after going on it is that of the whole run."""
    recipe = Recipe()
    trainers = []

    class Keep(Callback):
        part_of_run = False

        def on_fit_begin(self, trainer):
            trainers.append(trainer)

    with pytest.raises(KeyboardInterrupt):
        recipe.start(tmp_path, None, Keep(), strikes("on_batch_end", 2, signal.SIGINT))
    assert trainers[0].history.stop_reason == "stopped by SIGINT"
    assert trainers[0].state.step == 2
    assert recipe.start(tmp_path, "auto").history.stop_reason is None


class Blocks:
    """A loader that waits for a batch until a signal comes, and would wait for ever."""

    def __init__(self, loader, at, number):
        self.loader, self.at, self.number = loader, at, number

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for i, batch in enumerate(self.loader):
            if i == self.at and self.number is not None:
                os.kill(os.getpid(), self.number)
                threading.Event().wait(60)
                raise AssertionError("nobody left the wait")
            yield batch


@pytest.mark.parametrize("number", LEAVES)
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_signal_while_waiting_for_data(at, number, tmp_path):
    """The wait is left at once, for the first batch as well; what was drawn half is drawn again."""

    def recipe(number):
        train, val = zoo.loaders()
        return Recipe(make=lambda: zoo.model(dropout=0.3), loaders=lambda: (Blocks(list(train.in_order()), at, number), val))

    expected = result(recipe(None).start(tmp_path / "whole", None))
    with pytest.raises(LEAVES[number]):
        recipe(number).start(tmp_path / "run", None)
    assert_same(result(recipe(None).start(tmp_path / "run", "auto", seed=9)), expected)


@pytest.mark.parametrize("foreign", [False, True])
def test_a_signal_leaves_no_worker_behind(foreign, tmp_path):
    """Worker processes are gone when fit has left, although the exception is still at hand; the workers live through the signal."""

    def loaders():
        x, x_val = zoo.columns(48), zoo.columns(24, seed=7)
        train, val, _ = DataGenerator(x, zoo.labels(x)).generate_dataloader(
            x_val, zoo.labels(x_val, 7), batch_size=16, seed=3, num_workers=1
        )
        alike = DataLoader(train.table, batch_sampler=train.batch_sampler, collate_fn=train.collate_fn, num_workers=1)
        return (alike if foreign else train), val

    recipe = Recipe(loaders=loaders)
    expected = result(recipe.start(tmp_path / "whole", None))
    with pytest.raises(SystemExit) as left:
        recipe.start(tmp_path / "run", None, strikes("on_batch_end", 2, signal.SIGTERM))
    assert multiprocessing.active_children() == []
    assert left.value.code == 143
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


def test_an_error_of_the_loader_leaves_no_worker_behind(tmp_path):
    """Also where the exception comes out of the loader itself and somebody keeps it."""
    dataset = [({"age": float(i), "user": i % 12}, float(i % 2)) for i in range(16)]
    dataset[9] = None
    model = DeepFM([DenseFeature("age")], [zoo.USER], {"dims": [2]})
    with pytest.raises(TypeError):
        zoo.trainer(model).fit(DataLoader(dataset, batch_size=4, num_workers=1))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("hook", ["on_batch_begin", "on_validation_batch_end", "on_save"])
def test_a_second_signal_leaves_at_once(hook, tmp_path):
    """The step is not finished; the saves before are whole and the run goes on from them."""
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "whole", None))
    before = handlers()
    with pytest.raises(KeyboardInterrupt):
        recipe.start(tmp_path / "run", None, strikes(hook, 3 if hook != "on_validation_batch_end" else 2, signal.SIGINT, signal.SIGINT))
    assert handlers() == before
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


@pytest.mark.parametrize("hook", ["on_batch_end", "on_validation_batch_end"])
def test_a_notice_file_stops_the_run(hook, tmp_path):
    """It saves and leaves with status 75, from a check as well."""
    notice = tmp_path / "notice"

    class Writes(Callback):
        part_of_run = False

        def announce(self, trainer):
            if trainer.state.step >= 2:
                notice.touch()

    setattr(Writes, hook, Writes.announce)
    stop = GracefulStop(notice)
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "whole", None))
    real, stop._test_notice = stop._test_notice, lambda trainer: (setattr(stop, "_next_test", 0.0), real(trainer))
    with pytest.raises(SystemExit) as left:
        recipe.start(tmp_path / "run", None, Writes(), stop)
    assert left.value.code == 75
    assert_same(result(recipe.start(tmp_path / "run", "auto", seed=9)), expected)


def test_a_run_in_another_thread_takes_no_signals(tmp_path):
    """It trains without handlers, and to the end."""
    before, seen, done = handlers(), [], []

    class Look(Callback):
        def on_batch_end(self, trainer):
            seen.append(handlers())

    thread = threading.Thread(target=lambda: done.append(zoo.trainer(callbacks=[Look()]).fit(*zoo.loaders())))
    thread.start()
    thread.join()
    assert len(done[0]) == 3
    assert all(now == before for now in seen)


def test_the_users_own_handler_is_left_alone(tmp_path):
    """Who handles SIGTERM himself gets it, and the run does not stop."""
    got = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        trainer = Recipe().start(tmp_path, None, strikes("on_batch_end", 2, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]
    assert trainer.state.step == 8


def test_a_signal_while_handlers_are_put_back_leaves_none_behind(tmp_path, monkeypatch):
    """A signal that comes when one handler is back and the other is not leaves by its own exception, and all are put back."""
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
