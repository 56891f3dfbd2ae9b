import math

import pytest
import torch
from torch import nn

from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers import MLP, EmbeddingTable
from torch_rechub.basic.loss_func import BPRLoss, HingeLoss, InBatchNCELoss, NCELoss, RegularizationLoss


class Tied(nn.Module):
    """Tables of all three kinds, a frozen one, a norm, and a linear layer tied to an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Embedding(5, 3)
        self.bag = nn.EmbeddingBag(4, 3)
        self.table = EmbeddingTable([SparseFeature("user", 6, 2), SparseFeature("item", 7, 2)])
        self.frozen = nn.Embedding(5, 3).requires_grad_(False)
        self.mlp = MLP(3, dims=[4])
        self.norm = nn.LayerNorm(3)
        self.tied = nn.Linear(3, 5, bias=False)
        self.tied.weight = self.plain.weight

    def tables(self) -> list[torch.Tensor]:
        return [self.plain.weight, self.bag.weight, self.table.weight]

    def dense(self) -> list[torch.Tensor]:
        return [weight for layer in (self.mlp.mlp[0], self.mlp.mlp[4]) for weight in (layer.weight, layer.bias)]


def by_hand(weights: list[torch.Tensor], l1: float, l2: float) -> float:
    numbers = [number for weight in weights for number in weight.detach().double().flatten().tolist()]
    return math.fsum(l1 * abs(number) + l2 * number * number for number in numbers)


@pytest.mark.parametrize("given", [(0.1, 0, 0, 0), (0, 0.2, 0, 0), (0, 0, 0.3, 0), (0, 0, 0, 0.4), (0.1, 0.2, 0.3, 0.4)])
def test_regularization_sums_tables_and_dense_weights_separately(given: tuple[float, ...]):
    """Each weight is penalised once with its coefficients; normalisation layers and frozen weights are not penalised."""
    model = Tied()
    nn.init.normal_(model.table.weight)
    want = by_hand(model.tables(), *given[:2]) + by_hand(model.dense(), *given[2:])
    assert RegularizationLoss(*given)(model).item() == pytest.approx(want, rel=1e-5)


def test_regularization_gradient_equals_the_formula():
    """The gradient of l2 * w^2 is 2 * l2 * w, and normalisation layers have no gradient."""
    model = Tied()
    RegularizationLoss(embedding_l2=0.5, dense_l2=0.25)(model).backward()
    torch.testing.assert_close(model.bag.weight.grad, model.bag.weight.detach())
    torch.testing.assert_close(model.mlp.mlp[0].weight.grad, 0.5 * model.mlp.mlp[0].weight.detach())
    assert model.norm.weight.grad is None
    assert model.mlp.mlp[1].weight.grad is None


def test_regularization_without_coefficients_is_zero():
    """With all coefficients zero the loss is inactive and returns the number 0.0."""
    assert not RegularizationLoss().active
    assert RegularizationLoss()(Tied()) == 0.0
    assert RegularizationLoss(dense_l1=1e-9).active


@pytest.mark.parametrize("name", ["embedding_l1", "embedding_l2", "dense_l1", "dense_l2"])
@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf])
def test_regularization_refuses_bad_coefficients(name: str, value: float):
    """A coefficient that is negative or not finite raises an error that names it."""
    with pytest.raises(ValueError, match=name):
        RegularizationLoss(**{name: value})


@pytest.mark.parametrize("pos_shape", [(4,), (4, 1)])
@pytest.mark.parametrize("neg_shape", [(4,), (4, 1), (4, 3)])
def test_pairwise_losses_equal_the_definition(pos_shape: tuple[int, ...], neg_shape: tuple[int, ...]):
    """BPR is the mean over pairs; the hinge loss is the mean over rows of the hardest pair, with ranks from counting."""
    pos, neg = torch.randn(pos_shape), torch.randn(neg_shape)
    p, rows = pos.flatten().tolist(), neg.view(4, -1).tolist()
    bpr = [-math.log(1 / (1 + math.exp(-(p[i] - n)))) for i in range(4) for n in rows[i]]
    hinge = [max(0.0, max(rows[i]) - p[i] + 0.5) for i in range(4)]
    rank = [100 * sum(n - p[i] + 0.5 > 0 for n in rows[i]) / len(rows[i]) for i in range(4)]
    warp = [loss * math.log(r + 1) for loss, r in zip(hinge, rank, strict=True)]
    for criterion, want in ((BPRLoss(), bpr), (HingeLoss(0.5), hinge), (HingeLoss(0.5, num_items=100), warp)):
        assert criterion(pos, neg).item() == pytest.approx(sum(want) / len(want), rel=1e-4, abs=1e-5)
        assert torch.equal(criterion(pos, neg), criterion(pos, neg, in_batch_neg=True))


def test_bpr_and_its_gradient_are_finite_for_large_differences():
    """Where the sigmoid rounds to 0 the loss equals the difference of the scores, with gradient -1."""
    pos = torch.tensor([-500.0], requires_grad=True)
    loss = BPRLoss()(pos, torch.tensor([[500.0]]))
    loss.backward()
    assert loss.item() == 1000
    assert pos.grad.item() == -1


@pytest.mark.parametrize("criterion", [BPRLoss(), HingeLoss()])
@pytest.mark.parametrize("shape", [(3,), (1,), (3, 2), (1, 2), (4, 2, 2), ()])
def test_pairwise_losses_refuse_another_number_of_rows(criterion: nn.Module, shape: tuple[int, ...]):
    """Negatives that are not one row per positive raise an error and are not broadcast."""
    with pytest.raises(ValueError, match="B=4 rows"):
        criterion(torch.zeros(4), torch.zeros(shape))


@pytest.mark.parametrize("ignore_index", [0, 2, -100])
def test_nce_equals_the_definition(ignore_index: int):
    """The loss is minus the log of the softmax at the target, for the rows that are not ignored."""
    logits, targets = torch.randn(6, 4), torch.tensor([0, 2, 3, 0, 1, 2])
    shares = (logits / 0.3).double().exp() / (logits / 0.3).double().exp().sum(dim=1, keepdim=True)
    rows = [0.0 if t == ignore_index else -math.log(shares[i, t]) for i, t in enumerate(targets.tolist())]
    n_counted = sum(t != ignore_index for t in targets.tolist())
    assert NCELoss(0.3, ignore_index, "none")(logits, targets).tolist() == pytest.approx(rows, rel=1e-4, abs=1e-5)
    assert NCELoss(0.3, ignore_index, "sum")(logits, targets).item() == pytest.approx(sum(rows), rel=1e-4, abs=1e-5)
    assert NCELoss(0.3, ignore_index)(logits, targets).item() == pytest.approx(sum(rows) / n_counted, rel=1e-4, abs=1e-5)


def test_nce_of_ignored_targets_is_zero():
    """A batch in which all targets are ignored has the loss 0 and a zero gradient, not NaN."""
    logits = torch.randn(3, 4, requires_grad=True)
    loss = NCELoss(ignore_index=0)(logits, torch.zeros(3, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_nce_accepts_sequences():
    """Logits `(B, L, V)` have the losses of their rows, and "none" keeps the shape of the targets."""
    logits, targets = torch.randn(2, 3, 5), torch.randint(1, 5, (2, 3))
    want = NCELoss(reduction="none")(logits.view(6, 5), targets.view(6)).view(2, 3)
    assert torch.equal(NCELoss(reduction="none")(logits, targets), want)


def test_in_batch_nce_is_nce_of_inner_products():
    """InBatchNCELoss equals NCELoss of the inner products of users and items."""
    users, items, targets = torch.randn(4, 3), torch.randn(6, 3), torch.tensor([1, 5, 0, 2])
    logits = torch.tensor([[sum(a * b for a, b in zip(u, v, strict=True)) for v in items.tolist()] for u in users.tolist()])
    torch.testing.assert_close(InBatchNCELoss(0.5)(users, items, targets), NCELoss(0.5)(logits, targets))


@pytest.mark.parametrize("kind", [NCELoss, InBatchNCELoss])
def test_nce_refuses_bad_arguments(kind: type[NCELoss]):
    """A temperature of 0 and an unknown reduction raise an error in the constructor."""
    for temperature in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature must be > 0"):
            kind(temperature=temperature)
    with pytest.raises(ValueError, match=r"reduction must be one of .* got 'avg'"):
        kind(reduction="avg")
