import copy

import pytest
import torch
from torch import nn

from torch_rechub.basic.activation import Dice, activation_layer
from torch_rechub.basic.layers import MLP


def dice_by_hand(x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, alpha: float, epsilon: float) -> torch.Tensor:
    p = 1 / (1 + torch.exp(-(x - mean) / (var + epsilon) ** 0.5))
    return p * x + (1 - p) * alpha * x


def dice_with(alpha: float = 0.3, **arguments) -> Dice:
    dice = Dice(**arguments)
    nn.init.constant_(dice.alpha, alpha)
    return dice


def test_dice_normalises_each_neuron_over_the_batch():
    """In training, Dice is equation 3 of the DIN paper with the mean and the variance of each neuron over the batch."""
    x = torch.randn(9, 4) * 3 + torch.tensor([0.0, 5.0, -5.0, 100.0])
    want = dice_by_hand(x, x.mean(dim=0), x.var(dim=0, unbiased=False), 0.3, 0.01)
    torch.testing.assert_close(dice_with(epsilon=0.01)(x), want)


def test_dice_rows_are_independent_in_evaluation():
    """In evaluation, Dice uses the averages of training, so a row alone has the same output as in a batch."""
    dice, x = dice_with(), torch.randn(8, 3) * 2 + 1
    for _ in range(3):
        dice(torch.randn(16, 3) * 2 + 1)
    together = dice.eval()(x)
    torch.testing.assert_close(torch.cat([dice(row.unsqueeze(0)) for row in x]), together)
    torch.testing.assert_close(together, dice_by_hand(x, dice.running_mean, dice.running_var, 0.3, 1e-3))


def test_dice_averages_are_those_of_batch_norm():
    """The running statistics of Dice equal those of a BatchNorm1d without weights."""
    dice, norm = Dice(n_neuron=3), nn.BatchNorm1d(3, affine=False)
    for _ in range(4):
        x = torch.randn(6, 3)
        dice(x)
        norm(x)
    torch.testing.assert_close(dice.running_mean, norm.running_mean)
    torch.testing.assert_close(dice.running_var, norm.running_var)


def test_dice_of_one_training_row_is_finite_and_does_not_change_the_averages():
    """One row has no variance, so it is normalised by the averages, which do not change."""
    dice, x = dice_with(n_neuron=3), torch.randn(1, 3)
    dice(torch.randn(5, 3))
    before = copy.deepcopy(dice.state_dict())
    want = dice_by_hand(x, dice.running_mean, dice.running_var, 0.3, 1e-3)
    torch.testing.assert_close(dice(x), want)
    assert all(torch.equal(before[key], value) for key, value in dice.state_dict().items())


@pytest.mark.parametrize("n_neuron", [None, 3])
def test_dice_loads_weights_that_have_no_averages(n_neuron: int | None):
    """A state of the existing package, which has only `alpha`, loads strictly; the averages are then mean 0 and variance 1."""
    dice, x = Dice(n_neuron=n_neuron), torch.randn(4, 3)
    dice.load_state_dict({"alpha": torch.tensor([0.3])}, strict=True)
    torch.testing.assert_close(dice.eval()(x), dice_by_hand(x, torch.zeros(3), torch.ones(3), 0.3, 1e-3))


def test_dice_state_loads_into_a_new_layer_of_unknown_width():
    """The state of a trained Dice loads strictly into an untrained Dice, and both have the same output."""
    trained, x = dice_with(), torch.randn(4, 3)
    trained(torch.randn(7, 3) + 2)
    fresh = Dice()
    fresh.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(fresh.eval()(x), trained.eval()(x))


def test_dice_state_with_one_average_is_refused():
    """A state with only one of the two averages is damaged and raises an error."""
    with pytest.raises(RuntimeError, match="running_var"):
        Dice(n_neuron=2).load_state_dict({"alpha": torch.zeros(1), "running_mean": torch.zeros(2)})


def test_dice_treats_all_axes_except_the_last_as_the_batch():
    """An input `(B, L, n)` has the same output as `(B * L, n)`."""
    x = torch.randn(4, 5, 3)
    assert torch.equal(Dice()(x), Dice()(x.view(20, 3)).view(4, 5, 3))


def test_dice_in_a_new_mlp_holds_its_state_from_the_start():
    """The state of an MLP has the same keys before and after training."""
    mlp = MLP(4, dims=[5], activation="dice")
    before = list(mlp.state_dict())
    mlp(torch.randn(6, 4))
    assert list(mlp.state_dict()) == before
    assert dict(mlp.named_buffers())["mlp.2.running_mean"].shape == (5,)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sigmoid", nn.Sigmoid), ("relu", nn.ReLU), ("dice", Dice), ("prelu", nn.PReLU), ("softmax", nn.Softmax), ("leakyrelu", nn.LeakyReLU)],
)
def test_activation_layer_accepts_upper_and_lower_case(name: str, kind: type[nn.Module]):
    """A name in upper or lower case, or the class, gives a layer of that class, which does not change its input."""
    x = torch.randn(4, 3)
    before = x.clone()
    for argument in (name, name.upper(), kind):
        layer = activation_layer(argument)
        assert type(layer) is kind
        if argument is not nn.Softmax:
            layer(x)
        assert torch.equal(x, before)


def test_activation_layer_names_the_closest_choice():
    """A misspelt name raises an error that lists the choices and the closest one."""
    with pytest.raises(ValueError, match=r"'leakyrelu'\] or .* got 'leaky_relu'. Did you mean 'leakyrelu'"):
        activation_layer("leaky_relu")


@pytest.mark.parametrize("wrong", [nn.ReLU(), None, int, torch.relu])
def test_activation_layer_refuses_instances_and_other_objects(wrong: object):
    """An instance would be shared between layers, and other objects are not layers."""
    with pytest.raises(TypeError, match=r"nn\.Module class"):
        activation_layer(wrong)
