"""Wukong. Zhang et al., *Wukong: Towards a Scaling Law for Large-Scale Recommendation*, ICML 2024."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, EmbeddingLayer, FieldStack, Linear
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, hidden_layers, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["Wukong"]


@named_arguments
class Wukong(RankingModel):
    """Layers of factorization machines over fields, each beside a linear compression, and a network on top.

    ``X_{i+1} = LN([FMB(X_i), LCB(X_i)] + X_i)`` (section 3.3), with ``LCB(X) = W X``, and ``FMB(X) = reshape(MLP(LN(flatten(X X' Y))))``
    (section 3.4-3.6), where Y has ``rank`` columns, so that the products of all pairs are never computed. A layer with another number of
    fields than its input has a linear map of the fields in place of the residual. Deviations: Y does not depend on the row (the paper also
    tries one that does), and the network of FMB ends with a linear layer, about which the paper says nothing; all dense columns together
    are one further field (:class:`~torch_rechub.basic.layers.FieldStack`).

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of the :class:`~torch_rechub.basic.layers.MLP` on top.
        fmb_params: of the network of a factorization machine block, which has at least one hidden layer; without ``norm`` it has none,
            because its input is normalised.
        n_layers: number of layers.
        n_fmb: number of fields that the factorization machine of a layer gives.
        n_lcb: number of fields that its linear compression gives.
        rank: number of columns of Y.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: no column is embedded, widths differ, a sequence has pooling "concat", or a number is below 1.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = Wukong([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, {"dims": [8]}, n_fmb=3, n_lcb=2)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        fmb_params: Mapping[str, Any],
        n_layers: int = 3,
        n_fmb: int = 40,
        n_lcb: int = 40,
        rank: int = 8,
    ) -> None:
        super().__init__()
        for name, number in {"n_layers": n_layers, "n_fmb": n_fmb, "n_lcb": n_lcb, "rank": rank}.items():
            whole_number(f"Wukong: {name}", number)
        self.features = pooled_features("Wukong", "features", features)
        embed_dim = fields_of("Wukong", "features", self.features)[0].embed_dim
        self.embedding = EmbeddingLayer(self.features)
        self.stack = FieldStack(self.features)
        n_fields = [self.stack.num_fields, *[n_fmb + n_lcb] * (n_layers - 1)]
        arguments = {"norm": None, **hidden_layers("Wukong", "fmb_params", fmb_params)}
        self.layers = nn.Sequential(*[_WukongLayer(n_field, n_fmb, n_lcb, embed_dim, rank, arguments) for n_field in n_fields])
        self.mlp = MLP((n_fmb + n_lcb) * embed_dim, **arguments_of_mlp("Wukong", "mlp_params", mlp_params))

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        fields = self.stack(self.embedding.look_up(x, self.features))  # (B, F, D)
        return self.mlp(self.layers(fields).flatten(1)).squeeze(1)


class _WukongLayer(nn.Module):
    """``LN([FMB(X), LCB(X)] + X)``.

    Shape:
        ``(B, F, D)`` -> ``(B, n_fmb + n_lcb, D)``.
    """

    def __init__(self, num_fields: int, n_fmb: int, n_lcb: int, embed_dim: int, rank: int, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self.products = nn.Parameter(nn.init.xavier_normal_(torch.empty(num_fields, rank)))  # Y
        hidden = MLP(num_fields * rank, output_layer=False, **arguments)
        out = Linear(arguments["dims"][-1], n_fmb * embed_dim)
        self.fmb = nn.Sequential(nn.LayerNorm(num_fields * rank), hidden, out, nn.Unflatten(1, (n_fmb, embed_dim)))
        self.lcb = nn.Linear(num_fields, n_lcb, bias=False)
        self.residual = None if num_fields == n_fmb + n_lcb else nn.Linear(num_fields, n_fmb + n_lcb, bias=False)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """The new fields."""
        columns = x.transpose(1, 2)  # (B, D, F)
        products = x @ (columns @ self.products)  # (B, F, rank)
        out = torch.cat([self.fmb(products.flatten(1)), self.lcb(columns).transpose(1, 2)], dim=1)
        return self.norm(out + (x if self.residual is None else self.residual(columns).transpose(1, 2)))
