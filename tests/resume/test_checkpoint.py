"""Checkpoint: which files are there, when they are written, and whose they are."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
import zoo
from resuming import BreakAt, Broken, Recipe, assert_same, result

from torch_rechub.basic.callback import Checkpoint, checkpoint
from torch_rechub.storage import saves
from torch_rechub.storage.saves import SaveFolder


def fit(folder, values=None, resume=None, *, own=None, **options):
    watch = zoo.Watch()
    trainer = zoo.trainer(model_path=folder, callbacks=[watch, *([own] if own else [])], **options)
    if values is not None:
        trainer.evaluate_fn = zoo.Scripted(values)
    trainer.fit(*zoo.loaders(), resume=resume)
    return trainer, watch


def steps_of(folder):
    saves = SaveFolder(folder / "resume")
    return [saves.read(name)["position"]["step"] for name in saves.names()]


def test_the_built_in_one_saves_to_go_on_only_when_asked(tmp_path):
    """Without resume= there is model.pth and nothing else; with it, or with an instance of one's own, the saves as well."""
    fit(tmp_path / "plain")
    assert [entry.name for entry in (tmp_path / "plain").iterdir()] == ["model.pth"]
    fit(tmp_path / "asked", resume="auto")
    assert steps_of(tmp_path / "asked") == [12]
    fit(tmp_path / "own", own=Checkpoint())
    assert steps_of(tmp_path / "own") == [12]


@pytest.mark.parametrize(
    ("every", "keep", "expected"), [(None, 1, [12]), (None, 9, [4, 8, 12]), (3, 9, [3, 4, 6, 8, 9, 12]), (5, 2, [10, 12])]
)
def test_saves_are_made_by_step_check_and_epoch_and_the_newest_are_kept(every, keep, expected, tmp_path):
    """After every_n_steps steps, each check and each epoch; keep_last of them stay, each of them whole."""
    fit(tmp_path, own=Checkpoint(every_n_steps=every, keep_last=keep))
    found = steps_of(tmp_path)
    assert sorted(set(found)) == expected


def test_saves_by_the_clock(tmp_path, monkeypatch):
    """every_minutes counts from the last save of any kind."""
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: float(next(clock)))
    fit(tmp_path, own=Checkpoint(every_minutes=0.5, keep_last=99))
    assert set(steps_of(tmp_path)) > {4, 8, 12}


@pytest.mark.parametrize(("mode", "best"), [("max", [3, 1, 5]), ("min", [0, 2, 4])])
@pytest.mark.parametrize("background", [False, True])
def test_the_k_best_are_kept_with_a_list(mode, best, background, tmp_path):
    """The files are the weights of the k best checks, the earlier of equals first, and the list names them best first."""
    values = [0.1, 0.8, 0.3, 0.9, 0.3, 0.8]
    _, watch = fit(tmp_path, values, own=Checkpoint(keep_best=3, background=background), mode=mode, n_epoch=6, earlystop_patience=None)
    listed = json.loads((tmp_path / "best" / "best.json").read_text())
    assert [entry["step"] for entry in listed] == [4 * (check + 1) for check in best]
    assert [entry["value"] for entry in listed] == [values[check] for check in best]
    for check, entry in zip(best, listed, strict=True):
        assert zoo.same(torch.load(tmp_path / "best" / entry["file"], weights_only=True), watch.at_check[check])
    assert {entry.name for entry in (tmp_path / "best").iterdir()} == {"best.json", *(entry["file"] for entry in listed)}
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), watch.at_check[best[0]])


def test_the_k_best_may_follow_another_metric(tmp_path):
    """``monitor`` ranks them in its own direction; the best of all is still the trainer's."""
    trainer, _ = fit(tmp_path, own=Checkpoint(keep_best=2, monitor="logloss"), n_epoch=4)
    listed = json.loads((tmp_path / "best" / "best.json").read_text())
    assert [entry["value"] for entry in listed] == sorted(trainer.history["logloss"])[:2]


def test_the_k_best_of_a_run_that_was_broken_off(tmp_path):
    """Going on, the list ends as that of a run never broken off; a new run lets go of it."""

    def plain(folder, resume, *callbacks, seed=1):
        trainer = zoo.trainer(model_path=folder, val_every=1, callbacks=[*callbacks, Checkpoint(keep_best=2, every_n_steps=3)])
        torch.manual_seed(seed)
        trainer.fit(*zoo.loaders(), resume=resume)
        return json.loads((folder / "best" / "best.json").read_text())

    expected = plain(tmp_path / "whole", None)
    with pytest.raises(Broken):
        plain(tmp_path / "run", None, BreakAt(7))
    assert plain(tmp_path / "run", "auto", seed=5) == expected
    assert len(list((tmp_path / "run" / "best").iterdir())) == 3
    assert plain(tmp_path / "run", None) == expected


def test_a_new_run_lets_go_of_an_earlier_runs_saves(tmp_path):
    """At its first save, whatever keep_last says; until then they stay, and model.pth is the latest fit's at its end."""
    fit(tmp_path, own=Checkpoint(keep_last=9))
    assert steps_of(tmp_path) == [4, 8, 12]

    class DiesEarly(zoo.Watch):
        def on_batch_end(self, trainer):
            if trainer.state.step == 2:
                raise Broken

    with pytest.raises(Broken):
        zoo.trainer(model_path=tmp_path, callbacks=[Checkpoint(keep_last=9), DiesEarly()]).fit(*zoo.loaders())
    assert steps_of(tmp_path) == [4, 8, 12]
    trainer, _ = fit(tmp_path, own=Checkpoint(keep_last=9, every_n_steps=5), n_epoch=2)
    assert set(steps_of(tmp_path)) == {4, 5, 8}
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), trainer.model.state_dict())


def test_model_pth_is_written_again_where_another_run_replaced_it(tmp_path):
    """A run that goes on finds its own best in model.pth at the end, also if another fit wrote there meanwhile."""
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "whole", None))
    with pytest.raises(Broken):
        recipe.start(tmp_path / "run", None, BreakAt(6))
    zoo.trainer(zoo.model(seed=5), model_path=tmp_path / "run", n_epoch=1).fit(*zoo.loaders())
    (tmp_path / "run" / "model.pth.0123abcd.tmp").write_bytes(b"half")
    again = recipe.start(tmp_path / "run", "auto")
    assert_same(result(again), expected)
    assert zoo.same(torch.load(tmp_path / "run" / "model.pth", weights_only=True), expected["best"])
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {"model.pth", "resume"}


def test_safetensors_beside_model_pth(tmp_path):
    """The same weights in the other format, replaced together."""
    trainer, _ = fit(tmp_path, own=Checkpoint(safetensors=True))
    assert zoo.same(safetensors.torch.load_file(tmp_path / "model.safetensors"), trainer.model.state_dict())
    assert {entry.name for entry in tmp_path.iterdir()} == {"model.pth", "model.safetensors", "resume"}


def test_saving_in_the_background_saves_the_same(tmp_path):
    """What a thread writes while training goes on is what stood there when it was asked for."""
    trainer = zoo.trainer(model_path=tmp_path / "two", callbacks=[Checkpoint(every_n_steps=1, keep_last=99, background=True)])
    trainer.fit(*zoo.loaders())
    plain = zoo.trainer(model_path=tmp_path / "three", callbacks=[Checkpoint(every_n_steps=1, keep_last=99)])
    plain.fit(*zoo.loaders())
    two, three = SaveFolder(tmp_path / "two" / "resume"), SaveFolder(tmp_path / "three" / "resume")
    assert two.names() == three.names()
    for name in two.names():
        a, b = two.read(name), three.read(name)
        for part in ("parameters", "buffers"):
            assert zoo.same(a[part], b[part])
        assert a["position"]["step"] == b["position"]["step"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps must be a whole number >= 1; got 0"),
        ({"keep_best": 1.5}, "keep_best must be a whole number >= 1; got 1.5"),
        ({"keep_last": True}, "keep_last must be a whole number >= 1; got True"),
        ({"every_minutes": 0}, "every_minutes must be > 0; got 0"),
    ],
)
def test_checkpoint_arguments_are_checked(arguments, message):
    """Before anything runs, with the name and the value."""
    with pytest.raises(ValueError, match=message):
        Checkpoint(**arguments)


def test_a_run_saved_in_the_background_goes_on(tmp_path):
    """Bit for bit, like any other."""
    expected = result(Recipe().start(tmp_path / "whole", None))
    torch.manual_seed(1)

    def start(resume, *callbacks, seed=1):
        trainer = zoo.trainer(model_path=tmp_path / "run", n_epoch=2, callbacks=[*callbacks, Checkpoint(2, background=True)])
        torch.manual_seed(seed + 1)
        trainer.fit(*zoo.loaders(), resume=resume)
        return trainer

    with pytest.raises(Broken):
        start(None, BreakAt(5))
    assert steps_of(tmp_path / "run") == [4]
    found = result(start("auto", seed=7))
    same = ("weights", "best", "optimizer", "history", "decisions", "place", "torch")
    assert_same({name: found[name] for name in same}, {name: expected[name] for name in same})


def test_a_save_of_another_version_is_refused_by_its_format(tmp_path, monkeypatch):
    """A save with another format number is not called damaged: the error names both numbers and the remedy."""
    monkeypatch.setattr(saves, "FORMAT", 1)
    fit(tmp_path, resume="auto", n_epoch=1)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"format 1, this one reads 2"):
        fit(tmp_path, resume="auto")
