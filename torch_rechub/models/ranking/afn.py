"""AFN. Cheng, Shen and Huang, *Adaptive Factorization Network: Learning Adaptive-Order Feature Interactions*, AAAI 2020."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.features import DenseFeature, Feature
from torch_rechub.basic.layers import MLP, BatchNorm1d, EmbeddingLayer, Linear
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["AFN", "LogarithmicLayer"]


class LogarithmicLayer(nn.Module):
    """``y_j = exp(sum_i w_ij * ln|x_i|)``: products of powers of the fields, with learned exponents ``w``, entry by entry.

    The logarithms and the products are batch-normalised for each field and each neuron, as the paper does. Absolute values below
    ``smallest`` count as ``smallest``.

    Args:
        num_fields: number of fields, F.
        neurons: number of products, N.
        smallest: the least absolute value of an entry.

    Shape:
        ``(B, F, D)`` -> ``(B, D * N)``.
    """

    def __init__(self, num_fields: int, neurons: int, smallest: float = 1e-5) -> None:
        super().__init__()
        self.smallest = smallest
        self.log_norm = BatchNorm1d(num_fields)
        self.exponents = Linear(num_fields, neurons, bias=False)
        self.exp_norm = BatchNorm1d(neurons)

    def forward(self, x: Tensor) -> Tensor:
        """The products of all neurons."""
        entries = x.transpose(1, 2).reshape(-1, x.shape[1])  # (B * D, F), so that all entries are one product of matrices
        logarithms = self.log_norm(entries.abs().clamp(min=self.smallest).log())
        products = self.exp_norm(torch.exp(self.exponents(logarithms)))  # (B * D, N)
        return products.view(-1, x.shape[2] * products.shape[1])


@named_arguments
class AFN(RankingModel):
    """Adaptive factorization network: a network of products whose order is learned, ``exp(sum_i w_ij ln|v_i|)`` for each neuron j.

    With ``dnn_params`` it is AFN+: ``logit = w_1 * AFN + w_2 * DNN + b``, where the second network has embeddings of its own. Deviations:
    absolute values below 1e-5 count as 1e-5, as in the benchmark (the paper: 1e-7); the network of products also reads dense columns.

    Args:
        features: all columns; the embedded ones have one ``embed_dim``.
        mlp_params: arguments of the network of the products, an :class:`~torch_rechub.basic.layers.MLP`: ``dims``, ``dropout``,
            ``activation``, ``norm``.
        logarithmic_neurons: number of products.
        dnn_params: those of the network beside them; None: AFN.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: there are fewer than two embedded features, their widths differ, a sequence has pooling "concat", or
            ``logarithmic_neurons`` is below 1.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = AFN([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, logarithmic_neurons=5)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        logarithmic_neurons: int = 1000,
        dnn_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        neurons = whole_number("AFN: logarithmic_neurons", logarithmic_neurons)
        self.features = pooled_features("AFN", "features", features)
        self.fields = fields_of("AFN", "features", self.features, at_least=2)
        self.dense = [feature for feature in self.features if isinstance(feature, DenseFeature)]
        self.embedding = EmbeddingLayer(self.features)
        self.logarithmic = LogarithmicLayer(len(self.fields), neurons)
        width = neurons * self.fields[0].embed_dim + sum(feature.embed_dim for feature in self.dense)
        self.mlp = MLP(width, **arguments_of_mlp("AFN", "mlp_params", mlp_params))
        self.dnn = None
        if dnn_params is not None:
            n_column = sum(feature.embed_dim for feature in self.features)
            self.dnn_embedding = EmbeddingLayer(self.features)
            self.dnn = MLP(n_column, **arguments_of_mlp("AFN", "dnn_params", dnn_params))
            self.fc = nn.Linear(2, 1)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features)
        logits = embedded.through(self.mlp, self.dense, [self.logarithmic(embedded.stacked(self.fields))])
        if self.dnn is not None:
            beside = self.dnn_embedding.look_up(x, self.features).through(self.dnn, self.features)
            logits = self.fc(torch.cat([logits, beside], dim=1))
        return logits.squeeze(1)
