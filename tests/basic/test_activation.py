import copy

import pytest
import torch
from torch import nn

from torch_rechub.basic.activation import Dice, activation_layer
from torch_rechub.basic.layers import MLP


def dice_by_hand(x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, alpha: float, epsilon: float) -> torch.Tensor:
    p = 1 / (1 + torch.exp(-(x - mean) / (var + epsilon) ** 0.5))
    return p * x + (1 - p) * alpha * x


def made(alpha: float = 0.3, **arguments) -> Dice:
    dice = Dice(**arguments)
    nn.init.constant_(dice.alpha, alpha)
    return dice


def test_dice_normalises_each_neuron_over_the_batch():
    """In training, Dice is equation 3 of the DIN paper with each neuron's mean and variance over the batch."""
    x = torch.randn(9, 4) * 3 + torch.tensor([0.0, 5.0, -5.0, 100.0])
    want = dice_by_hand(x, x.mean(dim=0), x.var(dim=0, unbiased=False), 0.3, 0.01)
    torch.testing.assert_close(made(epsilon=0.01)(x), want)


def test_dice_rows_do_not_depend_on_each_other_when_evaluated():
    """In evaluation, Dice uses the averages of training, so a row alone gets what it gets among others."""
    dice, x = made(), torch.randn(8, 3) * 2 + 1
    for _ in range(3):
        dice(torch.randn(16, 3) * 2 + 1)
    together = dice.eval()(x)
    torch.testing.assert_close(torch.cat([dice(row.unsqueeze(0)) for row in x]), together)
    torch.testing.assert_close(together, dice_by_hand(x, dice.running_mean, dice.running_var, 0.3, 1e-3))


def test_dice_averages_move_as_those_of_batch_norm():
    """Dice's running statistics are those that BatchNorm1d without weights would keep."""
    dice, norm = Dice(n_neuron=3), nn.BatchNorm1d(3, affine=False)
    for _ in range(4):
        x = torch.randn(6, 3)
        dice(x)
        norm(x)
    torch.testing.assert_close(dice.running_mean, norm.running_mean)
    torch.testing.assert_close(dice.running_var, norm.running_var)


def test_dice_of_one_training_row_is_finite_and_leaves_the_averages():
    """One row has no variance: it is normalised by the averages, which stay."""
    dice, x = made(n_neuron=3), torch.randn(1, 3)
    dice(torch.randn(5, 3))
    before = copy.deepcopy(dice.state_dict())
    want = dice_by_hand(x, dice.running_mean, dice.running_var, 0.3, 1e-3)
    torch.testing.assert_close(dice(x), want)
    assert all(torch.equal(before[key], value) for key, value in dice.state_dict().items())


@pytest.mark.parametrize("n_neuron", [None, 3])
def test_dice_loads_weights_that_have_no_averages(n_neuron: int | None):
    """A state of the existing package, `alpha` alone, loads strictly; the averages then say mean 0 and variance 1."""
    dice, x = Dice(n_neuron=n_neuron), torch.randn(4, 3)
    dice.load_state_dict({"alpha": torch.tensor([0.3])}, strict=True)
    torch.testing.assert_close(dice.eval()(x), dice_by_hand(x, torch.zeros(3), torch.ones(3), 0.3, 1e-3))


def test_dice_state_reaches_a_new_layer_of_unknown_width():
    """A trained Dice's state loads strictly into a Dice that has seen nothing, and both then agree."""
    trained, x = made(), torch.randn(4, 3)
    trained(torch.randn(7, 3) + 2)
    fresh = Dice()
    fresh.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(fresh.eval()(x), trained.eval()(x))


def test_dice_with_half_a_state_is_refused():
    """A state with one of the two averages is damaged, not old."""
    with pytest.raises(RuntimeError, match="running_var"):
        Dice(n_neuron=2).load_state_dict({"alpha": torch.zeros(1), "running_mean": torch.zeros(2)})


def test_dice_treats_all_but_the_last_axis_as_the_batch():
    """`(B, L, n)` gives what `(B * L, n)` gives."""
    x = torch.randn(4, 5, 3)
    assert torch.equal(Dice()(x), Dice()(x.view(20, 3)).view(4, 5, 3))


def test_dice_in_a_new_mlp_holds_its_state_from_the_start():
    """An MLP's state has the same keys before and after training."""
    mlp = MLP(4, dims=[5], activation="dice")
    before = list(mlp.state_dict())
    mlp(torch.randn(6, 4))
    assert list(mlp.state_dict()) == before
    assert mlp.state_dict()["mlp.2.running_mean"].shape == (5,)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sigmoid", nn.Sigmoid), ("relu", nn.ReLU), ("dice", Dice), ("prelu", nn.PReLU), ("softmax", nn.Softmax), ("leakyrelu", nn.LeakyReLU)],
)
def test_activation_layer_knows_names_in_any_case(name: str, kind: type[nn.Module]):
    """A name in any case, or the class, gives a layer of that class and leaves its input alone."""
    x = torch.randn(4, 3)
    before = x.clone()
    for asked in (name, name.upper(), kind):
        layer = activation_layer(asked)
        assert type(layer) is kind
        if asked is not nn.Softmax:
            layer(x)
        assert torch.equal(x, before)


def test_activation_layer_names_the_closest_choice():
    """A misspelt name is one error that lists the choices and the closest."""
    with pytest.raises(ValueError, match=r"'leakyrelu'\] or .* got 'leaky_relu'. Did you mean 'leakyrelu'"):
        activation_layer("leaky_relu")


@pytest.mark.parametrize("wrong", [nn.ReLU(), None, int, torch.relu])
def test_activation_layer_refuses_what_it_cannot_make_anew(wrong: object):
    """An instance would be shared between layers, and anything else is no layer."""
    with pytest.raises(TypeError, match=r"nn\.Module class"):
        activation_layer(wrong)
