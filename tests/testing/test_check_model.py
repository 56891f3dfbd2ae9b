"""check_model: a good model keeps every law, and for each law there is a model that breaks it."""

from __future__ import annotations

import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.models.base import RankingModel
from torch_rechub.testing import check_model
from torch_rechub.testing.law import LAWS

USER, CITY = SparseFeature("user", 10, 4), SparseFeature("city", 20, 4)
PAST = SequenceFeature("past", 8, 4, pooling="concat", padding_idx=0)


def batch(n_row=12):
    generator = torch.Generator().manual_seed(0)
    x = {"user": torch.randint(0, 10, (n_row,), generator=generator), "city": torch.randint(0, 20, (n_row,), generator=generator)}
    x["past"] = torch.randint(0, 8, (n_row, 3), generator=generator)
    return x, torch.arange(n_row) % 2


class Good(RankingModel):
    """A linear model of two ids and a list, which the broken ones change."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = [USER, CITY, PAST]
        self.embedding = EmbeddingLayer(self.features)
        self.fc, self.bias = nn.Linear(4, 1), nn.Parameter(torch.zeros(1))
        for name in ("user", "city", "past"):
            nn.init.normal_(self.embedding.embed_dict[name].weight, std=0.5)
        with torch.no_grad():
            self.embedding.embed_dict["past"].weight[0] = 0.0

    def embed(self, x):
        embedded = self.embedding.look_up(x, self.features)
        past = embedded.stacked([PAST])  # (B, 1, L, D)
        return embedded.stacked([USER, CITY]).sum(1) + past.sum((1, 2))  # (B, D)

    def logits(self, x):
        return self.fc(self.embed(x)).squeeze(1) + self.bias


class Column(Good):
    def logits(self, x):
        return super().logits(x).unsqueeze(1)


class Constant(Good):
    def logits(self, x):
        return self.bias + 0 * super().logits(x)


class ByBatch(Good):
    def logits(self, x):
        logits = super().logits(x)
        return logits - logits.mean()


class Noisy(Good):
    def logits(self, x):
        return super().logits(x) + torch.rand(())


class Writes(Good):
    def logits(self, x):
        logits = super().logits(x)
        if isinstance(x, dict):
            x["user"][0] = 0
        return logits


class NeedsDict(Good):
    def logits(self, x):
        return super().logits(x) + float(isinstance(x, dict))


class Shares(Good):
    """Its copies share a layer with it."""

    def __deepcopy__(self, memo):
        other = Shares()
        other.load_state_dict(self.state_dict())
        other.fc = self.fc
        return other


class Defaults(Good):
    def logits(self, x):
        return super().logits({"user": torch.zeros(len(x["past"]), dtype=torch.int64), **x})


class Modulo(Good):
    def logits(self, x):
        return super().logits({name: x[name] % 8 for name in ("user", "city", "past")})


class CountsPadding(Good):
    def logits(self, x):
        return super().logits(x) + 0.1 * x["past"].shape[1]


class Float32(Good):
    def logits(self, x):
        return super().logits(x) + self.fc(torch.ones(1, 4)).squeeze()


class Branches(Good):
    def logits(self, x):
        return super().logits(x) * (2 if x["user"].sum() > 0 else 1)


class Detached(Good):
    def logits(self, x):
        return super().logits(x).detach() + self.bias


class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * 0.5


class WrongGradient(Good):
    def logits(self, x):
        return Half.apply(super().logits(x))


class TrainsPadding(Good):
    def logits(self, x):
        return super().logits(x) + self.embedding.tables["dim4"].weight[self.embedding.table_of("past").slices["past"]].sum()


class Remembers(Good):
    """A number that is no part of the state changes with each training batch."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def logits(self, x):
        self.n += self.training
        return super().logits(x) * (1 + 0.1 * self.n)


class Overflows(Good):
    def logits(self, x):
        return super().logits(x) / (0.0 if torch.is_autocast_enabled("cpu") else 1.0)


class Compiles(Good):
    """Another function where it is compiled."""

    def logits(self, x):
        return super().logits(x) * (2.0 if torch.compiler.is_compiling() and not torch.compiler.is_exporting() else 1.0)


class Sparse(Good):
    """Trains its table by a gradient that a row-wise optimizer does not see."""

    def logits(self, x):
        lagging = self.embedding.table_of("user").owner is not None
        return super().logits(x) * (2.0 if lagging else 1.0)


BROKEN = {
    "probabilities": Column,
    "varies": Constant,
    "rows": ByBatch,
    "repeatable": Noisy,
    "packed": NeedsDict,
    "copies": Shares,
    "missing feature": Defaults,
    "unknown id": Modulo,
    "padding": CountsPadding,
    "precision": Float32,
    "export": Branches,
    "compile": Compiles,
    "parameters": Detached,
    "gradients": WrongGradient,
    "padding rows": TrainsPadding,
    "row mode": Sparse,
    "mixed precision": Overflows,
    "resume": Remembers,
}


def test_a_good_model_keeps_every_law():
    """The model that the broken ones change keeps all laws."""
    report = check_model(Good(), batch(), on_fail="return")
    assert [result.name for result in report] == list(LAWS)
    assert not report.failures, report
    assert f"Good: {len(LAWS)} laws hold, 0 fail" in str(report)


def test_every_law_has_a_model_that_breaks_it():
    """BROKEN names a model for each law."""
    assert BROKEN.keys() == LAWS.keys()


@pytest.mark.parametrize("law", sorted(BROKEN))
def test_a_law_finds_a_model_that_breaks_it(law):
    """check_model raises an error with the law's name and the reason, and the report has it too."""
    with pytest.raises(AssertionError, match=rf"1 fail\s+fails +{law}"):
        check_model(BROKEN[law](), batch(), only=[law])
    (failure,) = check_model(BROKEN[law](), batch(), only=[law], on_fail="return").failures
    assert (failure.name, failure.law) == (law, LAWS[law].sentence)
    assert failure.reason


def test_a_model_that_writes_to_its_batch_is_found():
    """The law of repeatable predictions covers the batch."""
    with pytest.raises(AssertionError, match="wrote to the column 'user'"):
        check_model(Writes(), batch(), only=["repeatable"])


def test_the_model_itself_is_not_changed():
    """Weights, mode and gradients of the model are as before, and so is the global random state."""
    model = zoo.model().train()
    before, state = zoo.copy_of(model.state_dict()), torch.get_rng_state()
    check_model(model, zoo.tensors(12), only=["parameters", "row mode", "copies", "resume"])
    assert zoo.same(model.state_dict(), before)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_law_that_does_not_apply_says_why():
    """A module without features keeps the other laws, and those of features do not apply."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 1)

        def forward(self, x):
            return torch.sigmoid(self.fc(x["z"])).squeeze(1)

    report = check_model(Plain(), ({"z": torch.randn(6, 2)}, torch.arange(6) % 2), only=["rows", "unknown id"], on_fail="return")
    assert [(result.status, result.reason) for result in report] == [
        ("holds", ""),
        ("does not apply", "the model has no list `features`"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"only": ["row"]}, "no law 'row'; the laws are"), ({"skip": ["x"]}, "no law 'x'"), ({}, "at least four rows and both labels")],
)
def test_misuse_is_named(arguments, message):
    """An unknown law, and a batch that is too small, are errors."""
    rows = batch() if arguments else batch(3)
    with pytest.raises(ValueError, match=message):
        check_model(Good(), rows, **arguments)
