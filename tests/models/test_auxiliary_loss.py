"""Models whose training loss has a further term: the term, its part in a trainer's loss, and where there is none."""

from __future__ import annotations

import copy

import pytest
import torch
import zoo
from torch import nn
from torch.nn.functional import binary_cross_entropy as bce

from torch_rechub.basic.loss_func import logits_of
from torch_rechub.engine.row_objective import RowObjective
from torch_rechub.models import ranking
from torch_rechub.models.base import AuxiliaryLossModel
from torch_rechub.testing import check_model

FEATURES = [zoo.USER, zoo.ITEM, zoo.AGE]


def deepfm():
    return ranking.DeepFM(FEATURES, [zoo.USER, zoo.ITEM], {"dims": []})


def gdcn(dims=()):
    return ranking.GDCN(FEATURES, {"dims": list(dims), "norm": None})


def without_batch_norm():
    torch.manual_seed(0)
    return ranking.Branches(deepfm(), gdcn(), branch_loss=0.3)


@pytest.fixture
def batch():
    return zoo.tensors(12)


def test_branches_add_their_logits_and_their_losses(batch):
    """The logit is the sum of the branches', and the loss in training is that of the sum and, weighted, of each branch."""
    x, y = batch
    model = without_batch_norm()
    a, b = model.model_a.logits(x), model.model_b.logits(x)
    torch.testing.assert_close(model.logits(x), a + b)
    expected = bce((a + b).sigmoid(), y) + 0.3 * (bce(a.sigmoid(), y) + bce(b.sigmoid(), y))
    torch.testing.assert_close(model((x, y)), expected)
    torch.testing.assert_close(model.eval()((x, y)), bce((a + b).sigmoid(), y))


def test_branches_of_branches_add_all_losses(batch):
    """The loss of a branch has the further term of its own."""
    x, y = batch
    inner, c = without_batch_norm(), gdcn()
    model = ranking.Branches(inner, c)
    logits = inner.logits(x) + c.logits(x)
    expected = bce(logits.sigmoid(), y) + inner((x, y)) + c((x, y))
    torch.testing.assert_close(model((x, y)), expected)


def test_weighted_rows_weigh_the_further_term(batch):
    """With weights every term is sum(w * loss) / sum(w)."""
    x, y = batch
    weight = torch.arange(1.0, 13.0)
    model = without_batch_norm()
    a, b = model.model_a.logits(x), model.model_b.logits(x)
    rows = [nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none") for logits in (a + b, a, b)]
    sums = [(row * weight).sum() / weight.sum() for row in rows]
    torch.testing.assert_close(model((x, y, weight)), sums[0] + 0.3 * (sums[1] + sums[2]))


def test_parts_of_a_step_add_up_with_the_further_term(batch):
    """The losses of two batches of one optimizer step are the loss of all rows."""
    x, y = batch
    objective = RowObjective(without_batch_norm(), nn.BCELoss())
    parts = [({name: column[rows] for name, column in x.items()}, y[rows]) for rows in (slice(0, 5), slice(5, 12))]
    losses = [objective(part, {"loss": 12, "batches": 2}).value for part in parts]
    torch.testing.assert_close(losses[0] + losses[1], objective((x, y), {"loss": 12, "batches": 1}).value)


def test_the_trainer_trains_the_further_term():
    """The training loss that a trainer records has the further term, also compiled, and a validation does not."""
    train, val = zoo.loaders()
    losses = []
    for branch_loss in (0.0, 1.0):
        torch.manual_seed(0)
        model = ranking.Branches(deepfm(), gdcn(), branch_loss=branch_loss)
        history = zoo.trainer(model, n_epoch=1).fit(train, val)
        losses.append(history["loss"][0])
        assert history["logloss"][0] < 1.2
    assert losses[1] > 2 * losses[0]


def test_branches_with_shared_tables_keep_the_laws(batch):
    """With one table for both branches, its rows are saved once, trained by both, and all laws hold."""
    x, _ = batch
    model = ranking.Branches(deepfm(), gdcn(), separate_tables=False)
    check_model(model, batch, skip=["export", "compile", "mixed precision"])
    assert [key for key in model.state_dict() if "embed_dict" in key] == [
        *(f"model_a.embedding.embed_dict.{name}.weight" for name in ("user", "item"))
    ]
    assert model.model_b.embedding is model.model_a.embedding
    other = copy.deepcopy(model)
    assert other.model_b.embedding is other.model_a.embedding
    with torch.no_grad():
        other.model_a.embedding.embed_dict["user"].weight.fill_(1.0)
    assert not torch.equal(other.model_b.logits(x), model.model_b.logits(x))


def test_sharing_tables_leaves_the_given_model_as_it_is(batch):
    """The second model that was given keeps its own tables."""
    x, _ = batch
    given = gdcn()
    expected = given.eval()(x)
    ranking.Branches(deepfm(), given, separate_tables=False)
    assert torch.equal(given(x), expected)


@pytest.mark.parametrize("name", [name for name in zoo.RECIPES if isinstance(zoo.model(name), AuxiliaryLossModel)])
def test_a_replaced_prediction_is_refused_in_training(name):
    """Where a hook replaces the prediction the further term would be lost: in training that is an error, in evaluation it is not."""
    x, y = zoo.tensors(12, name=name)
    model = zoo.model(name)
    model.register_forward_hook(lambda module, inputs, output: output * 0.5)
    with pytest.raises(ValueError, match=rf"{type(model).__name__}.*Override outputs"):
        model.train()((x, y))
    assert logits_of(model.eval()(x)) is None


def test_a_hook_of_a_branch_takes_part(batch):
    """A forward hook on a branch changes what is predicted and trained."""
    x, _ = batch
    model = without_batch_norm().eval()
    before = model(x)
    model.model_a.register_forward_hook(lambda module, inputs, output: output * 0.5)
    expected = torch.logit(model.model_a(x)) + model.model_b.logits(x)
    torch.testing.assert_close(model.logits(x), expected)
    assert not torch.equal(model(x), before)


def test_finalnet_blocks_learn_from_the_prediction_of_both(batch):
    """The further loss is the cross-entropy of each block and the mean prediction, which gets no gradient from it."""
    x, y = batch
    model = ranking.FinalNet(FEATURES, {"dims": [8], "norm": None}, {"dims": [6], "norm": None})
    logits, (first, second) = model.outputs(x)
    torch.testing.assert_close(logits, 0.5 * (first + second))
    teacher = torch.sigmoid(logits.detach())
    expected = bce(logits.sigmoid(), y) + bce(first.sigmoid(), teacher) + bce(second.sigmoid(), teacher)
    torch.testing.assert_close(model((x, y)), expected)
    (gradient,) = torch.autograd.grad(model.auxiliary_loss(logits, (first, second), y, None), first)
    torch.testing.assert_close(gradient, (first.sigmoid() - teacher) / len(y))
    one = ranking.FinalNet(FEATURES, {"dims": [8], "norm": None})
    torch.testing.assert_close(one((x, y)), one.eval()((x, y)))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"model_a": nn.Linear(2, 1)}, TypeError, "model_a must be a ranking model.*got Linear"),
        ({"branch_loss": -1.0}, ValueError, "branch_loss must be a finite number >= 0; got -1.0"),
        ({"model_b": ranking.GDCN([zoo.TAGS], {}), "separate_tables": False}, ValueError, r"model_a has no such \['tags'\]"),
    ],
)
def test_branches_refuse_models_that_they_cannot_join(arguments, error, said):
    """Models that cannot stand side by side are an error at construction."""
    with pytest.raises(error, match=said):
        ranking.Branches(**{"model_a": deepfm(), "model_b": gdcn(), **arguments})
    model = deepfm()
    with pytest.raises(ValueError, match="two models; got one twice"):
        ranking.Branches(model, model)
