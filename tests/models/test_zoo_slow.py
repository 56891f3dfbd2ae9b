"""Laws of every ranking model that train, compile, export, differentiate numerically or resume it; make test checks them."""

from __future__ import annotations

import pytest
import zoo
from test_zoo import RANKING, SLOW

from torch_rechub.testing import check_model


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("law", sorted(SLOW))
def test_a_model_keeps_the_slow_law(name, law):
    """Every ranking model keeps every law of torch_rechub.testing that takes seconds to check."""
    check_model(zoo.model(name), zoo.tensors(12, name=name), only=[law])


VARIANTS = [(name, variant) for name in RANKING for variant in zoo.RECIPES[name].variants]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_variant_keeps_the_laws(name, variant):
    """A model of another structure, by its arguments, keeps the laws; how a run resumes does not depend on the structure."""
    model = zoo.model(name, **zoo.RECIPES[name].variants[variant])
    check_model(model, zoo.tensors(12, name=name), skip=["resume", "mixed precision"])


@pytest.mark.parametrize("name", RANKING)
def test_a_model_learns(name):
    """The training AUC is well above chance after a few epochs."""
    train, _ = zoo.loaders(n=300, batch_size=50, name=name)
    trainer = zoo.trainer(zoo.model(name), n_epoch=15)
    assert trainer.fit(train, train).best["auc"] > 0.8
