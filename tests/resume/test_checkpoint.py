"""Checkpoint: which files it writes, when, and to which run they belong."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
import zoo
from resuming import InterruptAt, Interrupted, Recipe, assert_same, result

from torch_rechub.basic.callback import Checkpoint, checkpoint
from torch_rechub.storage import saves
from torch_rechub.storage.saves import SaveFolder


def fit(folder, values=None, resume=None, *, checkpoint_callback=None, **options):
    watch = zoo.Watch()
    trainer = zoo.trainer(model_path=folder, callbacks=[watch, *([checkpoint_callback] if checkpoint_callback else [])], **options)
    if values is not None:
        trainer.evaluate_fn = zoo.Scripted(values)
    trainer.fit(*zoo.loaders(), resume=resume)
    return trainer, watch


def steps_of(folder):
    saves = SaveFolder(folder / "resume")
    return [saves.read(name)["position"]["step"] for name in saves.names()]


def test_saves_to_resume_from_are_written_only_on_request(tmp_path):
    """Without resume= only model.pth is written; with it, or with a Checkpoint of the user, the saves to resume from as well."""
    fit(tmp_path / "plain")
    assert [entry.name for entry in (tmp_path / "plain").iterdir()] == ["model.pth"]
    fit(tmp_path / "requested", resume="auto")
    assert steps_of(tmp_path / "requested") == [12]
    fit(tmp_path / "of the user", checkpoint_callback=Checkpoint())
    assert steps_of(tmp_path / "of the user") == [12]


@pytest.mark.parametrize(
    ("every", "keep", "expected"), [(None, 1, [12]), (None, 9, [4, 8, 12]), (3, 9, [3, 4, 6, 8, 9, 12]), (5, 2, [10, 12])]
)
def test_saves_follow_steps_validations_and_epochs(every, keep, expected, tmp_path):
    """A save follows every_n_steps steps, each validation and each epoch, and the newest keep_last of them remain."""
    fit(tmp_path, checkpoint_callback=Checkpoint(every_n_steps=every, keep_last=keep))
    steps = steps_of(tmp_path)
    assert sorted(set(steps)) == expected


def test_saves_every_minutes_count_from_the_last_save(tmp_path, monkeypatch):
    """every_minutes counts from the last save of any kind."""
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: float(next(clock)))
    fit(tmp_path, checkpoint_callback=Checkpoint(every_minutes=0.5, keep_last=99))
    assert set(steps_of(tmp_path)) > {4, 8, 12}


@pytest.mark.parametrize(("mode", "best"), [("max", [3, 1, 5]), ("min", [0, 2, 4])])
@pytest.mark.parametrize("background", [False, True])
def test_the_k_best_are_kept_with_a_list(mode, best, background, tmp_path):
    """The files hold the weights of the k best validations, the earlier of equals first, and best.json lists them best first."""
    values = [0.1, 0.8, 0.3, 0.9, 0.3, 0.8]
    _, watch = fit(
        tmp_path, values, checkpoint_callback=Checkpoint(keep_best=3, background=background), mode=mode, n_epoch=6, earlystop_patience=None
    )
    listed = json.loads((tmp_path / "best" / "best.json").read_text())
    assert [entry["step"] for entry in listed] == [4 * (validation + 1) for validation in best]
    assert [entry["value"] for entry in listed] == [values[validation] for validation in best]
    for validation, entry in zip(best, listed, strict=True):
        assert zoo.same(torch.load(tmp_path / "best" / entry["file"], weights_only=True), watch.at_validation[validation])
    assert {entry.name for entry in (tmp_path / "best").iterdir()} == {"best.json", *(entry["file"] for entry in listed)}
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), watch.at_validation[best[0]])


def test_the_k_best_may_follow_another_metric(tmp_path):
    """``monitor`` ranks the files in its own direction."""
    trainer, _ = fit(tmp_path, checkpoint_callback=Checkpoint(keep_best=2, monitor="logloss"), n_epoch=4)
    listed = json.loads((tmp_path / "best" / "best.json").read_text())
    assert [entry["value"] for entry in listed] == sorted(trainer.history["logloss"])[:2]


def fit_scripted(folder, values, resume=None, *callbacks, seed=1, n_epoch=3):
    """Validate with ``values`` after each step, four in an epoch; the k best as (step, value, weights), best first."""

    class Values:
        def __call__(self, y_true, y_pred):
            return values.pop(0)

    options = {"val_every": 1, "earlystop_patience": None, "n_epoch": n_epoch}
    trainer = zoo.trainer(model_path=folder, callbacks=[*callbacks, Checkpoint(keep_best=3)], **options)
    trainer.evaluate_fn = Values()
    torch.manual_seed(seed)
    trainer.fit(*zoo.loaders(), resume=resume)
    entries = json.loads((folder / "best" / "best.json").read_text())
    return [(entry["step"], entry["value"], torch.load(folder / "best" / entry["file"], weights_only=True)) for entry in entries]


def test_the_k_best_of_an_interrupted_run_are_those_of_an_uninterrupted_one(tmp_path):
    """A resumed run keeps the best files from before the interruption, adds better ones and deletes the others."""
    values = [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6, 0.2, 0.95, 0.1, 0.7, 0.3]
    expected = fit_scripted(tmp_path / "uninterrupted", values.copy())
    assert [step for step, _, _ in expected] == [9, 3, 11]
    remaining = values.copy()
    with pytest.raises(Interrupted):
        fit_scripted(tmp_path / "run", remaining, None, InterruptAt(7))
    assert remaining == values[7:]
    resumed = fit_scripted(tmp_path / "run", remaining, "auto", seed=5)
    assert remaining == []
    assert [entry[:2] for entry in resumed] == [entry[:2] for entry in expected]
    assert all(zoo.same(found[2], wanted[2]) for found, wanted in zip(resumed, expected, strict=True))
    assert len(list((tmp_path / "run" / "best").iterdir())) == 4


def test_a_new_run_replaces_the_k_best_of_an_earlier_one(tmp_path):
    """Worse weights of a new run replace the better ones of an earlier run."""
    fit_scripted(tmp_path, [0.1] * 9 + [0.9] * 3)
    best = fit_scripted(tmp_path, [0.1, 0.2, 0.3, 0.4], n_epoch=1)
    assert [entry[:2] for entry in best] == [(4, 0.4), (3, 0.3), (2, 0.2)]
    assert len(list((tmp_path / "best").iterdir())) == 4


def test_a_new_run_deletes_the_saves_of_an_earlier_one(tmp_path):
    """A new run deletes them at its first save, whatever keep_last is, and model.pth is that of the latest fit."""
    fit(tmp_path, checkpoint_callback=Checkpoint(keep_last=9))
    assert steps_of(tmp_path) == [4, 8, 12]

    class InterruptsEarly(zoo.Watch):
        def on_batch_end(self, trainer):
            if trainer.state.step == 2:
                raise Interrupted

    with pytest.raises(Interrupted):
        zoo.trainer(model_path=tmp_path, callbacks=[Checkpoint(keep_last=9), InterruptsEarly()]).fit(*zoo.loaders())
    assert steps_of(tmp_path) == [4, 8, 12]
    trainer, _ = fit(tmp_path, checkpoint_callback=Checkpoint(keep_last=9, every_n_steps=5), n_epoch=2)
    assert set(steps_of(tmp_path)) == {4, 5, 8}
    assert zoo.same(torch.load(tmp_path / "model.pth", weights_only=True), trainer.model.state_dict())


def test_model_pth_is_written_again_where_another_run_replaced_it(tmp_path):
    """At its end a resumed run writes its own best weights to model.pth, where another fit has replaced them."""
    recipe = Recipe()
    expected = result(recipe.start(tmp_path / "uninterrupted", None))
    with pytest.raises(Interrupted):
        recipe.start(tmp_path / "run", None, InterruptAt(6))
    zoo.trainer(zoo.model(seed=5), model_path=tmp_path / "run", n_epoch=1).fit(*zoo.loaders())
    (tmp_path / "run" / "model.pth.0123abcd.tmp").write_bytes(b"half")
    again = recipe.start(tmp_path / "run", "auto")
    assert_same(result(again), expected)
    assert zoo.same(torch.load(tmp_path / "run" / "model.pth", weights_only=True), expected["best"])
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {"model.pth", "resume"}


def test_safetensors_beside_model_pth(tmp_path):
    """model.safetensors holds the weights of model.pth."""
    trainer, _ = fit(tmp_path, checkpoint_callback=Checkpoint(safetensors=True))
    assert zoo.same(safetensors.torch.load_file(tmp_path / "model.safetensors"), trainer.model.state_dict())
    assert {entry.name for entry in tmp_path.iterdir()} == {"model.pth", "model.safetensors", "resume"}


def test_saving_in_the_background_saves_the_same(tmp_path):
    """A save in the background holds the values at the time of its request, whatever training changes meanwhile."""
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
    """A bad argument raises an error with its name and value at construction."""
    with pytest.raises(ValueError, match=message):
        Checkpoint(**arguments)


def test_a_run_saved_in_the_background_resumes(tmp_path):
    """A run that saves in the background and is interrupted resumes bit for bit."""
    expected = result(Recipe().start(tmp_path / "uninterrupted", None))
    torch.manual_seed(1)

    def start(resume, *callbacks, seed=1):
        trainer = zoo.trainer(model_path=tmp_path / "run", n_epoch=2, callbacks=[*callbacks, Checkpoint(2, background=True)])
        torch.manual_seed(seed + 1)
        trainer.fit(*zoo.loaders(), resume=resume)
        return trainer

    with pytest.raises(Interrupted):
        start(None, InterruptAt(5))
    assert steps_of(tmp_path / "run") == [4]
    resumed = result(start("auto", seed=7))
    same = ("weights", "best", "optimizer", "history", "decisions", "position", "torch")
    assert_same({name: resumed[name] for name in same}, {name: expected[name] for name in same})


def test_a_save_of_another_version_is_refused_by_its_format(tmp_path, monkeypatch):
    """A save with another format number is not called damaged: the error names both numbers and the remedy."""
    monkeypatch.setattr(saves, "FORMAT", 1)
    fit(tmp_path, resume="auto", n_epoch=1)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"format 1, this one reads 4"):
        fit(tmp_path, resume="auto")
