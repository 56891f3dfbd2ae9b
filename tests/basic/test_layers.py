import copy
from collections.abc import Callable
from types import MappingProxyType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from torch_rechub.basic import layers
from torch_rechub.basic.batch.packed import Layout, PackedFeatures
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature

#: layer name -> constructor call, shapes of its inputs and of its output without the batch axis, keys of its state
RECIPES: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]], tuple[int, ...], str]] = {
    "ConcatPooling": (layers.ConcatPooling, [(5, 4)], (5, 4), ""),
    "AveragePooling": (layers.AveragePooling, [(5, 4), (1, 5)], (4,), ""),
    "SumPooling": (layers.SumPooling, [(5, 4), (1, 5)], (4,), ""),
    "Linear": (lambda: layers.Linear(6, 4), [(6,)], (4,), "weight bias"),
    "Dropout": (lambda: layers.Dropout(0.3), [(6,)], (6,), ""),
    "BatchNorm1d": (lambda: layers.BatchNorm1d(6), [(6,)], (6,), "weight bias running_mean running_var num_batches_tracked"),
    "LR": (lambda: layers.LR(6), [(6,)], (1,), "fc.weight fc.bias"),
    "MLP": (
        lambda: layers.MLP(6, dims=[4]),
        [(6,)],
        (1,),
        "mlp.0.weight mlp.0.bias mlp.1.weight mlp.1.bias mlp.1.running_mean mlp.1.running_var mlp.1.num_batches_tracked "
        "mlp.4.weight mlp.4.bias",
    ),
    "PredictionLayer": (layers.PredictionLayer, [()], (), ""),
    "FM": (layers.FM, [(3, 4)], (1,), ""),
    "FFM": (lambda: layers.FFM(3), [(3, 3, 4)], (3, 1), ""),
    "ANOVA": (lambda: layers.ANOVA(3), [(4, 5)], (3, 5), ""),
    "FieldAwareProducts": (lambda: layers.FieldAwareProducts(3), [(3, 8)], (3,), ""),
    "InnerProducts": (lambda: layers.InnerProducts(3), [(3, 4)], (3,), ""),
    "WeightedPairs": (lambda: layers.WeightedPairs(3, 4, "matrix"), [(3, 4)], (1,), "weight"),
    "CEN": (
        lambda: layers.CEN(4, 3, 2),
        [(3, 4)],
        (12,),
        "u mlp_att.mlp.0.weight mlp_att.mlp.0.bias mlp_att.mlp.1.weight mlp_att.mlp.1.bias mlp_att.mlp.1.running_mean "
        "mlp_att.mlp.1.running_var mlp_att.mlp.1.num_batches_tracked mlp_att.mlp.4.weight mlp_att.mlp.4.bias mlp_att.mlp.5.weight "
        "mlp_att.mlp.5.bias mlp_att.mlp.5.running_mean mlp_att.mlp.5.running_var mlp_att.mlp.5.num_batches_tracked",
    ),
    "CIN": (
        lambda: layers.CIN(3, [4, 2]),
        [(3, 4)],
        (1,),
        "conv_layers.0.weight conv_layers.0.bias conv_layers.1.weight conv_layers.1.bias fc.weight fc.bias",
    ),
    "CrossLayer": (lambda: layers.CrossLayer(6), [(6,), (6,)], (6,), "b w.weight"),
    "CrossNetwork": (lambda: layers.CrossNetwork(6, 2), [(6,)], (6,), "w.0.weight w.1.weight b.0 b.1"),
    "CrossNetV2": (lambda: layers.CrossNetV2(6, 2), [(6,)], (6,), "w.0.weight w.1.weight b.0 b.1"),
    "CrossNetMix": (
        lambda: layers.CrossNetMix(6, 1, 2, 2),
        [(6,)],
        (6,),
        "u_list.0 v_list.0 c_list.0 gating.0.weight gating.1.weight bias.0",
    ),
    "GatedCrossNetwork": (lambda: layers.GatedCrossNetwork(6, 2), [(6,)], (6,), "w.0.weight w.1.weight b.0 b.1"),
    "FactorizedInteraction": (lambda: layers.FactorizedInteraction(6, 4), [(6,)], (4,), "linear.weight linear.bias"),
    "FactorizedBlock": (
        lambda: layers.FactorizedBlock(6, [4], norm=None, activation="relu", residual="sum"),
        [(6,)],
        (4,),
        "layers.0.linear.weight layers.0.linear.bias",
    ),
    "SelfMaskCrossNetwork": (
        lambda: layers.SelfMaskCrossNetwork(6, 1),
        [(6,)],
        (6,),
        "w.0.weight b.0 norm.0.weight norm.0.bias",
    ),
    "DisentangledSelfAttention": (
        lambda: layers.DisentangledSelfAttention(4, 6, 2),
        [(3, 4)],
        (3, 6),
        "W_Q.weight W_K.weight W_V.weight W_V.bias W_unary.weight W_Res.weight W_Res.bias",
    ),
    "BiLinearInteractionLayer": (
        lambda: layers.BiLinearInteractionLayer(4, 3),
        [(3, 4)],
        (3, 4),
        "bilinear_layer.0.weight bilinear_layer.1.weight bilinear_layer.2.weight",
    ),
    "SENETLayer": (lambda: layers.SENETLayer(3), [(3, 4)], (3, 4), "mlp.0.weight mlp.2.weight"),
    "InteractingLayer": (lambda: layers.InteractingLayer(4), [(3, 4)], (3, 4), "W_Q.weight W_K.weight W_V.weight W_Res.weight"),
    "ActivationUnit": (
        lambda: layers.ActivationUnit(4, dims=[3]),
        [(5, 4), (4,)],
        (4,),
        "attention.mlp.0.weight attention.mlp.0.bias attention.mlp.1.weight attention.mlp.1.bias attention.mlp.1.running_mean "
        "attention.mlp.1.running_var attention.mlp.1.num_batches_tracked attention.mlp.2.alpha attention.mlp.4.weight attention.mlp.4.bias",
    ),
    "AUGRU_Cell": (lambda: layers.AUGRU_Cell(4), [(4,), (4,), (1,)], (4,), "Wu Uu bu Wr Ur br Wh Uh bh"),
}
LOOKUPS = {"EmbeddingLayer", "EmbeddingTable", "FeatureLinear", "FieldStack", "InputMask"}  # they read ids and have their own test files
MASKED = {
    "AUGRU",
    "HashAttention",
    "LastPositionTransformer",
    "TargetAttention",
}  # tests/basic/test_history_layers.py has them


def randomized(layer: nn.Module) -> nn.Module:
    """The layer with random weights and biases, so that no term of a formula is zero."""
    for weight in layer.parameters():
        nn.init.normal_(weight, std=0.5)
    return layer


def test_every_layer_has_a_recipe():
    """Every public layer has a recipe in this file."""
    assert set(RECIPES) | LOOKUPS | MASKED == set(layers.__all__)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("n_row", [1, 7])
def test_layer_shape_is_that_of_its_docstring(name: str, n_row: int):
    """A batch, of one training row too, gives the documented shape, finite values, and a gradient for every weight."""
    make, inputs, output, _ = RECIPES[name]
    layer = randomized(make())
    given_inputs = [torch.rand(n_row, *shape, requires_grad=True) for shape in inputs]
    before = [tensor.detach().clone() for tensor in given_inputs]
    result = layer(*given_inputs)
    assert result.shape == (n_row, *output)
    result.sum().backward()
    assert result.isfinite().all()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in layer.parameters())
    assert all(torch.equal(tensor, old) for tensor, old in zip(given_inputs, before, strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_layer_state_has_the_keys_of_the_existing_package(name: str):
    """The keys of saved weights are those of the existing package."""
    make, _, _, keys = RECIPES[name]
    assert sorted(make().state_dict()) == sorted(keys.split())


@pytest.mark.parametrize("name", RECIPES)
def test_layer_rows_are_independent_in_evaluation(name: str):
    """In evaluation a row alone has the same output as in a batch."""
    make, inputs, _, _ = RECIPES[name]
    layer = randomized(make()).eval()
    batch = [torch.rand(5, *shape) for shape in inputs]
    alone = torch.cat([layer(*(tensor[i : i + 1] for tensor in batch)) for i in range(5)])
    torch.testing.assert_close(layer(*batch), alone)


# Pooling and masks


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_pooling_equals_a_loop_over_the_mask(masks: list[list[bool]]):
    """Sum and mean use the positions where the mask is 1; a row of padding only is 0."""
    mask, x = torch.tensor(masks).unsqueeze(1), torch.randn(len(masks), 3, 2)
    for row, is_used in enumerate(masks):
        total = sum((x[row, i] for i in range(3) if is_used[i]), torch.zeros(2))
        for given_mask in (mask, mask.float(), mask.long()):
            torch.testing.assert_close(layers.SumPooling()(x, given_mask)[row], total)
            torch.testing.assert_close(layers.AveragePooling()(x, given_mask)[row], total / max(sum(is_used), 1))


def test_pooling_without_a_mask_uses_every_position():
    """No mask is the same as a mask of ones, and a sequence of length 0 gives 0."""
    x, ones = torch.randn(4, 3, 2), torch.ones(4, 1, 3)
    for pooling in (layers.SumPooling(), layers.AveragePooling()):
        torch.testing.assert_close(pooling(x), pooling(x, ones))
        assert torch.equal(pooling(torch.zeros(4, 0, 2)), torch.zeros(4, 2))
    assert layers.ConcatPooling()(x, ones) is x


def test_input_mask_marks_padding_of_any_mapping():
    """The mask is 0 for padding ids only, for a dict, another mapping and packed features; without padding_idx it is 1."""
    a, b = SparseFeature("a", 9, 2, padding_idx=0), SparseFeature("b", 9, 2)
    c, d = SequenceFeature("c", 9, 2, padding_idx=3), SequenceFeature("d", 9, 2, shared_with="c")
    columns = {
        "a": torch.tensor([0, 4]),
        "b": torch.tensor([0, 4]),
        "c": torch.tensor([[3, 1], [0, 3]]),
        "d": torch.tensor([[3, 1], [-1, 3]]),
    }
    packed = PackedFeatures(
        Layout(ids=("a", "b"), blocks=("c", "d")),
        torch.stack([columns["a"], columns["b"]], dim=1).int(),
        torch.empty(2, 0),
        (columns["c"], columns["d"]),
    )
    for x in (columns, MappingProxyType(columns), packed):
        assert layers.InputMask()(x, [a, b]).tolist() == [[0.0, 1.0], [1.0, 1.0]]
        assert layers.InputMask()(x, a).tolist() == [[0.0], [1.0]]
        assert layers.InputMask()(x, [c, d]).tolist() == [[[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]


@pytest.mark.parametrize("wrong", [DenseFeature("a"), [DenseFeature("a")], []])
def test_input_mask_refuses_what_has_no_padding(wrong: object):
    """Only ids can be padding."""
    with pytest.raises(ValueError, match="InputMask: features must"):
        layers.InputMask()({"a": torch.zeros(2)}, wrong)


# MLP and batch norm


def test_mlp_equals_its_layers_by_hand():
    """An MLP is Linear, batch norm and ReLU for each width, then one Linear; in training with the statistics of the batch."""
    mlp, x = randomized(layers.MLP(5, dims=[4, 3])), torch.randn(6, 5)
    state, want = mlp.state_dict(), x
    for linear, norm in (("0", "1"), ("4", "5")):
        z = want @ state[f"mlp.{linear}.weight"].t() + state[f"mlp.{linear}.bias"]
        z = (z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + 1e-5).sqrt()
        want = (z * state[f"mlp.{norm}.weight"] + state[f"mlp.{norm}.bias"]).clamp(min=0)
    torch.testing.assert_close(mlp(x), want @ state["mlp.8.weight"].t() + state["mlp.8.bias"])


def test_mlp_without_output_layer_ends_with_its_last_width():
    """The output width is the last of dims, or the input width without dims; the list `dims` is not changed."""
    dims = [4, 3]
    assert layers.MLP(5, output_layer=False, dims=dims)(torch.randn(2, 5)).shape == (2, 3)
    assert layers.MLP(5, False)(torch.randn(2, 5)).shape == (2, 5)
    assert layers.MLP(5)(torch.randn(2, 5)).shape == (2, 1)
    assert dims == [4, 3]


def test_mlp_has_dropout_in_training_only():
    """About the given share of outputs is zero in training, and none in evaluation."""
    mlp, x = layers.MLP(5, output_layer=False, dims=[200], dropout=0.5, activation="sigmoid"), torch.randn(50, 5)
    assert 0.45 < (mlp(x) == 0).float().mean().item() < 0.55
    assert (mlp.eval()(x) > 0).all()


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "dice", "prelu", "softmax", "leakyrelu", nn.Tanh, nn.ReLU])
def test_mlp_trains_with_every_activation_and_one_row(activation: str | type[nn.Module]):
    """Every activation has finite gradients, for a batch of one row too, and gradients that pass gradcheck."""
    mlp = layers.MLP(5, dims=[4, 3], activation=activation).double()
    for n_row in (6, 1):
        mlp(torch.randn(n_row, 5).double()).sum().backward()
        assert all(weight.grad.isfinite().all() for weight in mlp.parameters())
    assert torch.autograd.gradcheck(mlp.eval(), torch.randn(3, 5, dtype=torch.double, requires_grad=True))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dims": [0]}, "dims must be a whole number >= 1; got 0"),
        ({"dims": [4, -1]}, "got -1"),
        ({"dims": [2.5]}, "got 2.5"),
        ({"dims": [True]}, "got True"),
        ({"input_dim": 0}, "input_dim must be a whole number >= 1"),
        ({"dropout": 1}, "dropout must be >= 0 and < 1; got 1"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"dims": [4], "activation": "rleu"}, "Did you mean 'relu'"),
    ],
)
def test_mlp_refuses_bad_arguments(wrong: dict[str, object], message: str):
    """A bad argument raises an error in the constructor."""
    with pytest.raises(ValueError, match=message):
        layers.MLP(**{"input_dim": 3, **wrong})
    with pytest.raises(TypeError, match="drop_out"):
        layers.MLP(3, drop_out=0.1)


def test_batch_norm_is_that_of_torch_except_for_one_value():
    """A batch gives the bits and the state of torch; one row is normalised by the running statistics and does not change them."""
    ours, theirs = layers.BatchNorm1d(3), nn.BatchNorm1d(3)
    for shape in ((5, 3), (4, 3, 2), (1, 3, 2)):
        x = torch.randn(shape)
        assert torch.equal(ours(x), theirs(x))
    before = copy.deepcopy(ours.state_dict())
    for shape in ((1, 3), (1, 3, 1)):
        x = torch.randn(shape)
        assert torch.equal(ours(x), theirs.eval()(x))
    assert all(torch.equal(before[key], value) for key, value in ours.state_dict().items())
    assert all(torch.equal(before[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1)])
def test_batch_norm_refuses_the_shapes_that_torch_refuses(shape: tuple[int, ...]):
    """The shape is checked for a batch of one row too."""
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        layers.BatchNorm1d(3)(torch.zeros(shape))


def test_prediction_layer_and_lr_apply_the_sigmoid_on_request():
    """Classification and `sigmoid=True` give probabilities; regression returns its input, and LR returns logits by default."""
    x = torch.randn(5, 3)
    assert torch.equal(layers.PredictionLayer()(x), torch.sigmoid(x))
    assert layers.PredictionLayer("regression")(x) is x
    linear = layers.LR(3)
    probabilities = layers.LR(3, sigmoid=True)
    probabilities.load_state_dict(linear.state_dict())
    assert torch.equal(probabilities(x), torch.sigmoid(linear(x)))


@pytest.mark.parametrize("n_row", [1, 33])
def test_factorization_machine_is_linear_plus_pairs(n_row: int):
    """Values, gradients and second-order gradients are those of the sum of LR and FM."""
    from torch_rechub.basic.layers.fm import factorization_machine

    torch.manual_seed(0)
    linear, pairs = layers.LR(15).double(), layers.FM()
    results = []
    x0 = torch.randn(n_row, 5, 3, dtype=torch.float64)
    for both in (
        lambda x: factorization_machine(x, linear.fc.weight, linear.fc.bias),
        lambda x: (linear(x.flatten(1)) + pairs(x)).squeeze(1),
    ):
        x = x0.clone().requires_grad_()
        out = both(x)
        grads = torch.autograd.grad(out.square().sum(), [x, linear.fc.weight, linear.fc.bias], create_graph=True)
        results.append([out, *grads, *torch.autograd.grad(grads[0].square().sum(), [x, linear.fc.weight])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
