"""What fit trains is what predict runs: an overridden forward, hooks and assigned criteria take part in training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import zoo
from torch import nn

from torch_rechub.basic.loss_func import logits_of
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer


class WithTower(DeepFM):
    """DeepFM with one more tower, added in forward."""

    def __init__(self):
        super().__init__([zoo.USER, zoo.ITEM, zoo.AGE], [zoo.USER, zoo.ITEM], {"dims": [4]})
        self.tower = nn.Linear(1, 1)

    def forward(self, x):
        return 0.5 * super().forward(x) + 0.5 * torch.sigmoid(self.tower(x["age"].unsqueeze(1))).squeeze(1)


def fit(model, **options):
    trainer = zoo.trainer(model, n_epoch=1, **options)
    trainer.fit(*zoo.loaders())
    return trainer


def test_an_overridden_forward_is_trained():
    """The tower that forward adds gets gradients, and the recorded loss is that of what predict gives."""
    torch.manual_seed(0)
    model = WithTower()
    before = model.tower.weight.clone()
    trainer = zoo.trainer(model, n_epoch=1, optimizer_fn=torch.optim.SGD, optimizer_params={"lr": 0.0})
    train, _ = zoo.loaders(n=16)
    model.mlp.eval()
    (record,) = trainer.fit(train)
    x, y = next(iter(train.in_order()))
    expected = copy.deepcopy(model).train()(x)
    assert record["loss"] == pytest.approx(nn.functional.binary_cross_entropy(expected, y).item(), rel=1e-5)
    fit(model)
    assert not torch.equal(model.tower.weight, before)


@pytest.mark.parametrize("part", ["", "embedding", "linear", "linear.fc", "fm", "mlp", "mlp.mlp.0", "embedding.tables.dim4"])
@pytest.mark.parametrize("kind", ["forward", "pre", "backward"])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_fire_in_training_and_prediction(part, kind):
    """A hook on the model or any part of it is called in every training step and every prediction."""
    model, calls = zoo.model(dropout=0.0), []
    module = model.get_submodule(part)
    if kind == "forward":
        module.register_forward_hook(lambda *arguments: calls.append(1))
    elif kind == "pre":
        module.register_forward_pre_hook(lambda *arguments: calls.append(1))
    else:
        module.register_full_backward_hook(lambda *arguments: calls.append(1))
    trainer = fit(model)
    assert len(calls) >= 4  # batches of the epoch
    in_training = len(calls)
    trainer.predict(model, zoo.loaders()[1])
    assert (len(calls) > in_training) == (kind != "backward")


def test_a_hook_that_changes_the_prediction_changes_the_training():
    """With a hook that returns a constant, no weight of the model learns."""
    model = zoo.model(dropout=0.0)
    before = zoo.copy_of(dict(model.named_parameters()))
    model.register_forward_hook(lambda module, inputs, prediction: prediction * 0 + 0.3)
    fit(model)
    assert zoo.same(dict(model.named_parameters()), before)


@pytest.mark.parametrize("part", ["embedding", "linear", "fm"])
def test_a_hook_computes_what_the_fused_path_computes(part):
    """Predictions with a hook that changes nothing are those without it, to float rounding."""
    model = zoo.model(dropout=0.0).eval()
    x, _ = zoo.tensors()
    with torch.no_grad():
        expected = model(x)
        model.get_submodule(part).register_forward_hook(lambda *arguments: None)
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)


def test_predictions_carry_their_logits_until_they_are_changed():
    """The logits are there on the prediction itself, and on nothing that was computed from it or written into."""
    model = zoo.model().eval()
    prediction = model(zoo.tensors()[0])
    assert torch.equal(torch.sigmoid(logits_of(prediction)), prediction)
    assert logits_of(prediction + 0) is None
    assert logits_of(prediction[:3]) is None
    with torch.no_grad():
        prediction.mul_(0.5)
    assert logits_of(prediction) is None


def test_saturated_predictions_learn_by_their_logits():
    """A probability that rounds to 1 has a loss and a gradient: a wrapper around the model keeps them."""

    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x)

    model = zoo.plain_model()
    with torch.no_grad():
        model.linear.fc.bias.fill_(60.0)
    trainer = zoo.trainer(Wrapper(model), n_epoch=1, optimizer_fn=torch.optim.SGD, optimizer_params={"lr": 1.0})
    history = trainer.fit(zoo.loaders()[0])
    assert model.linear.fc.bias.item() < 59
    assert history["loss"][0] > 20  # a loss from probabilities in float32 ends at 100 * share, without gradient


@pytest.mark.parametrize("criterion", [nn.BCELoss(), nn.BCEWithLogitsLoss()])
def test_both_binary_cross_entropies_train_alike(criterion):
    """BCELoss and BCEWithLogitsLoss, assigned by the user, are computed from logits: the bits of the default."""
    expected, trainer = zoo.trainer(), zoo.trainer()
    trainer.criterion = criterion
    for each in (expected, trainer):
        torch.manual_seed(3)
        each.fit(*zoo.loaders())
    assert zoo.same(expected.model.state_dict(), trainer.model.state_dict())


def test_a_module_that_returns_logits_trains_with_its_criterion():
    """BCEWithLogitsLoss takes the output of a user's module without carried logits as logits."""
    torch.manual_seed(0)

    class Logit(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def forward(self, x):
            return self.linear(x["age"].unsqueeze(1))

    trainer = zoo.trainer(Logit(), n_epoch=1, optimizer_fn=torch.optim.SGD, optimizer_params={"lr": 0.0})
    trainer.criterion = nn.BCEWithLogitsLoss()
    train, _ = zoo.loaders()
    (record,) = trainer.fit(train)
    x, y = train.table.batch(slice(0, 64))
    expected = nn.functional.binary_cross_entropy_with_logits(trainer.model(x).squeeze(1), y)
    assert record["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_users_module_with_logits_and_a_loss_of_its_own_trains():
    """A module may call anything ``logits`` and ``loss``: only forward is called."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def logits(self, x):
            raise AssertionError("not called")

        def loss(self, logits, y):
            raise AssertionError("not called")

        def forward(self, x):
            return torch.sigmoid(self.linear(x["age"].unsqueeze(1)))

    assert len(fit(Own()).history) == 1


@pytest.mark.parametrize("before_first", [True, False])
def test_a_rate_set_on_the_optimizer_is_kept(before_first, caplog):
    """A learning rate set on trainer.optimizer before a fit is the rate of that fit, and the log says so."""
    caplog.set_level("INFO")
    trainer = zoo.trainer(n_epoch=1)
    if not before_first:
        trainer.fit(*zoo.loaders())
    trainer.optimizer.param_groups[0]["lr"] = 0.0125
    assert trainer.fit(*zoo.loaders())["lr"] == [0.0125]
    assert before_first or "the optimizer keeps lr=0.0125" in caplog.text


def test_a_schedule_does_not_count_as_a_rate_that_was_set():
    """A second fit starts from the configured rate where a schedule changed it."""
    options = {"scheduler_fn": torch.optim.lr_scheduler.ExponentialLR, "scheduler_params": {"gamma": 0.5}}
    trainer = zoo.trainer(n_epoch=2, **options)
    assert trainer.fit(*zoo.loaders())["lr"] == trainer.fit(*zoo.loaders())["lr"] == [0.05, 0.025]


def test_bfloat16_trains_validates_and_predicts():
    """precision="bf16" computes in bfloat16 in training, validation and prediction; weights and predictions are float32."""
    seen = []
    model = zoo.model(dropout=0.0)
    model.mlp.mlp[0].register_forward_hook(lambda module, inputs, output: seen.append((module.training, output.dtype)))
    trainer = zoo.trainer(model, precision="bf16")
    history = trainer.fit(*zoo.loaders())
    prediction = trainer.predict(model, zoo.loaders()[1])
    assert {dtype for _, dtype in seen} == {torch.bfloat16}
    assert {training for training, _ in seen} == {True, False}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert prediction.dtype == np.float32
    assert all(np.isfinite(history["loss"]))
    with pytest.raises(ValueError, match="precision must be 'fp32' or 'bf16'"):
        CTRTrainer(zoo.model(), precision="fp16")


def test_lbfgs_trains_through_a_closure():
    """An optimizer that asks for a closure gets one: the weights are those of a hand-written loop, bit for bit."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def forward(self, x):
            return torch.sigmoid(self.linear(x["age"].unsqueeze(1))).squeeze(1)

    torch.manual_seed(0)
    model = Linear()
    by_hand = copy.deepcopy(model)
    train, _ = zoo.loaders(batch_size=64)
    options = {"lr": 0.5, "max_iter": 6}
    trainer = zoo.trainer(model, optimizer_fn=torch.optim.LBFGS, optimizer_params=options, n_epoch=2, clip_norm=100.0)
    history = trainer.fit(train)
    optimizer = torch.optim.LBFGS(by_hand.parameters(), **options)
    losses = []
    for epoch in range(2):
        train.set_epoch(epoch)
        for x, y in train:

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = nn.functional.binary_cross_entropy(by_hand(x), y)
                loss.backward()
                return loss

            losses.append(optimizer.step(closure).item())
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    assert history["loss"] == pytest.approx(losses, rel=1e-6)


class Rounds(CTRTrainer):
    """Its evaluate is the share of right answers."""

    def evaluate(self, model, data_loader):
        hits = [(torch.as_tensor(model(x)) > 0.5) == (y > 0.5) for x, y in data_loader]
        return torch.cat(hits).float().mean().item()


def test_an_overridden_evaluate_decides():
    """fit calls a subclass's evaluate, records its value under the monitored name, and stops early by it."""
    trainer = Rounds(zoo.model(), model_path=None, progress=False, n_epoch=2)
    train, val = zoo.loaders()
    history = trainer.fit(train, val)
    model = trainer.model
    best = Rounds(model, model_path=None, progress=False).evaluate(model, val.in_order())
    assert history.best["auc"] == best
    assert trainer.early_stopper.best_auc == max(history["auc"])


def test_an_overridden_train_one_epoch_is_refused():
    """fit does not call train_one_epoch: a subclass that overrides it learns which seam to use."""

    class Own(CTRTrainer):
        def train_one_epoch(self, data_loader, log_interval=10):
            return 0.0

    with pytest.raises(TypeError, match="Own overrides train_one_epoch, which fit does not call"):
        Own(zoo.model(), model_path=None, progress=False).fit(*zoo.loaders())
