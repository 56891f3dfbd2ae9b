"""MaskNet. Wang, She and Zhang, *MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models*, DLP-KDD 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from torch_rechub.arguments import choice, named_arguments, whole_number
from torch_rechub.basic.activation import activation_layer
from torch_rechub.basic.features import Feature
from torch_rechub.basic.layers import MLP, Dropout, EmbeddingLayer, Linear
from torch_rechub.models.arguments import arguments_of_mlp, fields_of, pooled_features
from torch_rechub.models.base import RankingModel
from torch_rechub.types import Features, Scores

__all__ = ["MaskNet"]

ModelType: TypeAlias = Literal["parallel", "serial"]


@named_arguments
class MaskNet(RankingModel):
    """Blocks that multiply their input by a mask, which a bottleneck computes from all embeddings.

    ``V_mask = W_2 relu(W_1 V_emb + b_1) + b_2`` (eq. 5); a block is ``relu(LN(W (V_mask * V)))`` (eq. 8-9). "serial": a block reads the
    output of the one before, and a linear layer reads the last. "parallel": all blocks read the embeddings, normalised in each field
    (eq. 7), and a network reads all outputs side by side (section 3.4). Deviations, as in published code: the blocks may have dropout; the
    first normalisation may be left out. Dense columns belong to V, without the normalisation of a field.

    Args:
        features: all columns.
        mlp_params: parallel: arguments of :class:`~torch_rechub.basic.layers.MLP` on top. Serial: its ``dims`` are the widths of the
            blocks. ``dropout`` and ``activation`` are also those of the blocks.
        model_type: "parallel" or "serial".
        num_blocks: number of parallel blocks.
        block_dim: width of a parallel block's output.
        reduction_ratio: width of a mask's hidden layer, divided by the width of the mask.
        emb_layernorm: whether the embeddings of each field are normalised; they must have one ``embed_dim`` then.
        net_layernorm: whether the blocks have layer normalisation.

    Shape:
        features ``{name: (B,) or (B, L)}`` -> probabilities ``(B,)``; a batch ``(x, y)`` -> the loss, a scalar.

    Raises:
        ValueError: ``features`` is empty, a sequence has pooling "concat", widths differ where they must not, a serial model has no
            ``dims``, or ``model_type`` is none of the two.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> model = MaskNet([SparseFeature("user", 10, 4), SparseFeature("item", 20, 4)], {"dims": [8]}, block_dim=6)
        >>> model({"user": torch.tensor([1, 2]), "item": torch.tensor([3, 4])}).shape
        torch.Size([2])
    """

    def __init__(
        self,
        features: Sequence[Feature],
        mlp_params: Mapping[str, Any],
        model_type: ModelType = "parallel",
        num_blocks: int = 3,
        block_dim: int = 64,
        reduction_ratio: float = 2.0,
        emb_layernorm: bool = True,
        net_layernorm: bool = True,
    ) -> None:
        super().__init__()
        choice("MaskNet: model_type", model_type, get_args(ModelType))
        self.features = pooled_features("MaskNet", "features", features)
        self.embedding = EmbeddingLayer(self.features)
        self.is_serial = model_type == "serial"
        self.norm = None
        if emb_layernorm:
            fields = fields_of("MaskNet", "features", self.features)
            self.norm = _FieldNorm(len(fields), fields[0].embed_dim)
        arguments, width = arguments_of_mlp("MaskNet", "mlp_params", mlp_params), sum(feature.embed_dim for feature in self.features)
        widths = list(arguments.get("dims") or []) if self.is_serial else [block_dim] * whole_number("MaskNet: num_blocks", num_blocks)
        if not widths:
            raise ValueError(
                "MaskNet: mlp_params must have the widths of the serial blocks; got none. Write mlp_params={'dims': [64, 64]}."
            )
        inputs = [width, *widths[:-1]] if self.is_serial else [width] * len(widths)
        options = (reduction_ratio, net_layernorm, arguments.get("activation", "relu"), arguments.get("dropout", 0.0))
        self.blocks = nn.ModuleList([_MaskBlock(width, n_in, n_out, *options) for n_in, n_out in zip(inputs, widths, strict=True)])
        self.out = nn.Linear(widths[-1], 1) if self.is_serial else MLP(sum(widths), **arguments)

    def logits(self, x: Features) -> Scores:
        """Log-odds of a positive label, ``(B,)``."""
        embedded = self.embedding.look_up(x, self.features).flat(self.features)
        hidden = embedded if self.norm is None else self.norm(embedded)
        if not self.is_serial:
            return self.out(torch.cat([block(embedded, hidden) for block in self.blocks], dim=1)).squeeze(1)
        for block in self.blocks:
            hidden = block(embedded, hidden)
        return self.out(hidden).squeeze(1)


class _MaskBlock(nn.Module):
    """``activation(LN(W (mask(embedded) * hidden)))``: eq. 5, 8 and 9.

    Shape:
        ``(B, emb_dim)`` and ``(B, input_dim)`` -> ``(B, output_dim)``.
    """

    def __init__(
        self,
        emb_dim: int,
        input_dim: int,
        output_dim: int,
        reduction_ratio: float,
        has_norm: bool,
        activation: str | type[nn.Module],
        dropout: float,
    ) -> None:
        super().__init__()
        n_hidden = max(1, int(input_dim * reduction_ratio))
        self.mask = nn.Sequential(Linear(emb_dim, n_hidden), nn.ReLU(inplace=True), Linear(n_hidden, input_dim))
        norms = [nn.LayerNorm(output_dim)] if has_norm else []
        linear = Linear(input_dim, output_dim, bias=not has_norm)
        self.hidden = nn.Sequential(linear, *norms, activation_layer(activation, output_dim), Dropout(dropout))

    def forward(self, embedded: Tensor, hidden: Tensor) -> Tensor:
        """The masked input behind the hidden layer."""
        return self.hidden(self.mask(embedded) * hidden)


class _FieldNorm(nn.Module):
    """Layer normalisation of each field, with a scale and a shift of its own (eq. 7), for the first columns of ``(B, n)``."""

    def __init__(self, num_fields: int, embed_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_fields, embed_dim))
        self.bias = nn.Parameter(torch.zeros(num_fields, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        """The same columns, those of the fields normalised."""
        n_column = self.weight.numel()
        fields = nn.functional.layer_norm(x[:, :n_column].unflatten(1, self.weight.shape), self.weight.shape[1:])  # (B, F, D)
        fields = torch.addcmul(self.bias, fields, self.weight).flatten(1)
        return fields if x.shape[1] == n_column else torch.cat([fields, x[:, n_column:]], dim=1)
