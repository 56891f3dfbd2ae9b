"""The attention of a target to each entry of a history, by a small network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.mask import masked_softmax
from torch_rechub.basic.layers.mlp import MLP, Norm

__all__ = ["ActivationUnit"]


@named_arguments
class ActivationUnit(nn.Module):
    """The sum of a history, weighted by a network of each entry and the target.

    ``v(t) = sum_j a(e_j, t) e_j`` (Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018, eq. 3), where ``a`` is
    a network of ``[t, e, t - e, t * e]``. The weights are not normalised, as in the paper. Deviations, as in the existing package: the
    network reads the element-wise product where the paper has the outer one, and the difference, as the authors' code does; its hidden
    layers are batch-normalised. The statistics of the network are those of the entries that are not padding.

    Args:
        emb_dim: width of an embedding, D.
        dims: widths of the hidden layers; None means ``[36]``.
        activation: of the hidden layers.
        use_softmax: normalise the weights over the history.
        norm: of the hidden layers, see :class:`~torch_rechub.basic.layers.MLP`.

    Shape:
        history ``(B, L, D)``, target ``(B, D)``, mask ``(B, L)`` that is True where an entry counts, or None -> ``(B, D)``. A history
        without an entry that counts gives zeros.

    Example:
        >>> ActivationUnit(4, dims=[8])(torch.ones(2, 5, 4), torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        emb_dim: int,
        dims: Sequence[int] | None = None,
        activation: str | type[nn.Module] = "dice",
        use_softmax: bool = False,
        *,
        norm: Norm | None = "batch",
    ) -> None:
        super().__init__()
        self.emb_dim = emb_dim
        self.use_softmax = use_softmax
        self.attention = MLP(4 * emb_dim, dims=[36] if dims is None else dims, activation=activation, norm=norm)

    def forward(self, history: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weighted sum over ``L``."""
        targets = target.unsqueeze(1).expand_as(history)
        pairs = torch.cat([targets, history, targets - history, targets * history], dim=-1).flatten(0, 1)  # (B * L, 4 * D)
        rows = self.attention(pairs) if mask is None else self.attention(pairs, mask.reshape(-1))
        scores = rows.view(history.shape[:2])  # (B, L)
        if self.use_softmax:
            weights = scores.softmax(dim=-1) if mask is None else masked_softmax(scores, mask)
        else:
            weights = scores if mask is None else scores.masked_fill(~mask, 0.0)
        return torch.bmm(weights.unsqueeze(1), history).squeeze(1)  # (B, D)
