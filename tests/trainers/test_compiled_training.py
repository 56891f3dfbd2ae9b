"""A compiled objective or model trains to rounding, and its files are those of a plain one."""

from __future__ import annotations

import pytest
import torch
import zoo


def test_a_compiled_objective_trains_to_rounding(tmp_path):
    """compile= gives the weights of the plain run to rounding, on our packed batches, and model.pth has plain keys."""
    plain, compiled = (
        zoo.trainer(zoo.plain_model(), model_path=tmp_path / name, compile=options)
        for name, options in (("plain", False), ("compiled", {"backend": "aot_eager"}))
    )
    for trainer in (plain, compiled):
        trainer.fit(*zoo.loaders())
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    assert torch.load(tmp_path / "compiled" / "model.pth", weights_only=True).keys() == plain.model.state_dict().keys()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # by torch's compiler
def test_a_compiled_model_of_the_user_saves_plain_keys_and_resumes(tmp_path):
    """A model given as torch.compile(model) is saved without the compiler's prefix, and a plain run resumes it."""
    compiled = torch.compile(zoo.plain_model(), backend="eager")
    trainer = zoo.trainer(compiled, model_path=tmp_path, n_epoch=1)
    trainer.fit(*zoo.loaders(), resume="auto")
    assert set(torch.load(tmp_path / "model.pth", weights_only=True)) == set(zoo.plain_model().state_dict())
    resumed = zoo.trainer(zoo.plain_model(), model_path=tmp_path, n_epoch=2)
    resumed.fit(*zoo.loaders(), resume="auto")
    assert resumed.resumed
    assert len(resumed.history) == 2
