"""FinalMLP. Mao, Zhu, Su, Cai, Li and Dong, *FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction*, AAAI 2023."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, Linear
from torch_rechub.models.arguments import arguments_of_mlp, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["FinalMLP"]


@named_arguments
class FinalMLP(RankingModel):
    """Two networks, each behind a gate on its inputs, joined by a bilinear form.

    ``h_i = e * 2 sigmoid(Gate_i(x_i))`` (eq. 5-6), ``o_i = MLP_i(h_i)``, and with heads k of the outputs
    ``logit = b + w_1 o_1 + w_2 o_2 + sum_k o_1k' W_k o_2k`` (eq. 8-10). The context ``x_i`` is a learned vector or the embeddings of a
    user's or an item's columns, from tables of their own, as in the authors' code. Deviations: the networks
    also read dense columns; a learned vector begins at small random numbers, because at 0 the layer behind it has no gradient.

    Args:
        features: all columns that both networks read.
        mlp1_params: arguments of the first :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``, ``activation``, ``norm``.
        mlp2_params: of the second.
        use_fs: whether there are gates, the feature selection.
        fs_dims: widths of the hidden layers of a gate.
        fs1_context: columns that the first gate reads, often those of the user; none is a learned vector.
        fs2_context: of the second gate, often those of the item.
        num_heads: number of parts of the networks' outputs, which must be divisible by it.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty, a sequence has pooling "concat", a network has no hidden layer, or ``num_heads`` does not divide
            its last width.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> user, item = SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)
        >>> model = FinalMLP([user, item], {"dims": [8]}, {"dims": [4]}, fs1_context=[user], fs2_context=[item], num_heads=2)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp1_params: Mapping[str, Any],
        mlp2_params: Mapping[str, Any],
        use_fs: bool = True,
        fs_dims: Sequence[int] = (64,),
        fs1_context: Sequence[Feature] = (),
        fs2_context: Sequence[Feature] = (),
        num_heads: int = 1,
    ) -> None:
        super().__init__()
        self.features = pooled_features("FinalMLP", "features", features)
        contexts = {"fs1_context": fs1_context, "fs2_context": fs2_context}
        self.read_features = list(self.features)
        self.embedding = EmbeddingLayer(self.features)
        width = sum(feature.embed_dim for feature in self.features)
        gates = [_Gate(name, context, width, fs_dims) for name, context in contexts.items() if use_fs]
        self.gates = nn.ModuleList(gates)
        for gate in gates:
            self.features = [*self.features, *(feature for feature in gate.context if feature not in self.features)]
        networks = {"mlp1_params": mlp1_params, "mlp2_params": mlp2_params}
        arguments = [arguments_of_mlp("FinalMLP", name, given) for name, given in networks.items()]
        self.mlp1, self.mlp2 = (MLP(width, output_layer=False, **given) for given in arguments)
        first, second = (_last_width(name, given, num_heads) for name, given in zip(networks, arguments, strict=True))
        self.fusion = _BilinearFusion(first, second, num_heads)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.read_features)
        if not len(self.gates):
            return self.fusion(embedded.through(self.mlp1, self.read_features), embedded.through(self.mlp2, self.read_features))
        inputs = embedded.flat(self.read_features)  # (B, sum of embed_dim)
        first, second = (inputs * gate(x) for gate in self.gates)
        return self.fusion(self.mlp1(first), self.mlp2(second))


class _Gate(nn.Module):
    """``2 sigmoid(MLP(context))``: eq. 5.

    Args:
        argument: the name of the context among the model's arguments.
        context: columns; none is a learned vector, as wide as the first hidden layer.
        width: number of gates.
        dims: widths of the hidden layers.
    """

    def __init__(self, argument: str, context: Sequence[Feature], width: int, dims: Sequence[int]) -> None:
        super().__init__()
        self.context = pooled_features("FinalMLP", argument, context) if len(context) else []
        self.embedding = EmbeddingLayer(self.context) if self.context else None
        self.vector = None if self.context else nn.Parameter(torch.randn(1, dims[0] if len(dims) else width) * 0.01)
        n_input = sum(feature.embed_dim for feature in self.context) if self.vector is None else self.vector.shape[1]
        self.mlp = MLP(n_input, output_layer=False, dims=dims, norm=None)
        self.out = Linear(dims[-1] if len(dims) else n_input, width)

    def forward(self, x: Features) -> Tensor:
        """The gates ``(B, width)``, or ``(1, width)`` where all rows have the same."""
        if self.embedding is None:
            hidden = self.mlp(self.vector)
        else:
            hidden = self.embedding.look_up(x, self.context).through(self.mlp, self.context)
        return 2 * torch.sigmoid(self.out(hidden))


class _BilinearFusion(nn.Module):
    """``b + w_1 o_1 + w_2 o_2 + sum_k o_1k' W_k o_2k``: eq. 8-10.

    Shape:
        ``(B, first)`` and ``(B, second)`` -> ``(B,)``.
    """

    def __init__(self, first: int, second: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.w1 = nn.Linear(first, 1)
        self.w2 = nn.Linear(second, 1, bias=False)
        weight = torch.empty(num_heads, first // num_heads, second // num_heads)
        self.w12 = nn.Parameter(nn.init.normal_(weight, std=(2 / (weight.numel() + 1)) ** 0.5))  # Glorot's rule for one output

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """One number a row."""
        heads1, heads2 = (o.unflatten(1, (self.num_heads, -1)) for o in (first, second))  # (B, heads, width of a head)
        products = torch.einsum("bki,kij->bkj", heads1, self.w12) * heads2
        return (self.w1(first) + self.w2(second)).squeeze(1) + products.flatten(1).sum(dim=1)


def _last_width(name: str, arguments: Mapping[str, Any], num_heads: int) -> int:
    dims = arguments.get("dims")
    if not dims:
        raise ValueError(f"FinalMLP: {name} must have at least one hidden layer; got dims={dims!r}. Write {name}={{'dims': [400]}}.")
    if dims[-1] % whole_number("FinalMLP: num_heads", num_heads):
        raise ValueError(f"FinalMLP: num_heads must divide the last width of {name}, {dims[-1]}; got num_heads={num_heads}.")
    return dims[-1]
