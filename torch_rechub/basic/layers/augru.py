"""A recurrent layer whose update gate is scaled by the attention of a target."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.mask import masked_softmax
from torch_rechub.basic.layers.plain import are_plain

__all__ = ["AUGRU", "AUGRU_Cell"]


def _weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape)))


def _gate(embed_dim: int) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """The weights of the input and of the state, and the bias."""
    return _weight(embed_dim, embed_dim), _weight(embed_dim, embed_dim), _weight(1, embed_dim)


@named_arguments
class AUGRU_Cell(nn.Module):  # the existing package's name
    """One step of a GRU with an attentional update gate.

    ``u = a * sigmoid(x W_u + h U_u + b_u)``, ``r = sigmoid(x W_r + h U_r + b_r)``, ``c = tanh(x W_h + r * (h U_h) + b_h)``, and the new
    state ``(1 - u) * h + u * c`` (Zhou et al., *Deep Interest Evolution Network for Click-Through Rate Prediction*, AAAI 2019, eq. 2-5
    and 16-17).

    Args:
        embed_dim: width of an input and of the state, D.

    Shape:
        input ``(B, D)``, state ``(B, D)``, attention ``(B, 1)`` -> the new state ``(B, D)``.

    Example:
        >>> AUGRU_Cell(4)(torch.ones(2, 4), torch.zeros(2, 4), torch.ones(2, 1)).shape
        torch.Size([2, 4])
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.Wu, self.Uu, self.bu = _gate(embed_dim)
        self.Wr, self.Ur, self.br = _gate(embed_dim)
        self.Wh, self.Uh, self.bh = _gate(embed_dim)

    def forward(self, x: Tensor, h_1: Tensor, a: Tensor) -> Tensor:
        """The state after one input."""
        return self.step(self.project(x), h_1, a, self.recurrent)

    @property
    def recurrent(self) -> Tensor:
        """The weights of the state for all gates, ``(D, 3 * D)``."""
        return torch.cat([self.Uu, self.Ur, self.Uh], dim=1)

    def project(self, x: Tensor) -> Tensor:
        """The inputs' parts of all gates, ``(..., D)`` -> ``(..., 3 * D)``: the same for every state, so for all steps at once."""
        bias = torch.cat([self.bu, self.br, self.bh], dim=1).squeeze(0)
        return torch.matmul(x, torch.cat([self.Wu, self.Wr, self.Wh], dim=1)) + bias

    def step(self, projected: Tensor, h: Tensor, a: Tensor, recurrent: Tensor) -> Tensor:
        """The state after one projected input ``(B, 3 * D)``."""
        from_u, from_r, from_h = (h @ recurrent).chunk(3, dim=1)
        to_u, to_r, to_h = projected.chunk(3, dim=1)
        update = a * torch.sigmoid(to_u + from_u)
        candidate = torch.tanh(to_h + torch.sigmoid(to_r + from_r) * from_h)
        return h + update * (candidate - h)


@named_arguments
class AUGRU(nn.Module):
    """A GRU over a sequence, whose steps count as much as a target attends to them.

    The attention is ``a_t = softmax_t(x_t W_a target)`` over the positions that count (DIEN, eq. 14); the steps are those of
    :class:`AUGRU_Cell`. A position that does not count leaves the state as it is; a row without one keeps the state zero.

    Args:
        embed_dim: width of an input, of the state and of the target, D.

    Shape:
        sequence ``(B, L, D)``, target ``(B, D)``, mask ``(B, L)`` that is True where a position counts, or None -> all states ``(B, L, D)``
        and the last one ``(B, D)``.

    Example:
        >>> states, last = AUGRU(4)(torch.ones(2, 5, 4), torch.ones(2, 4))
        >>> states.shape, last.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.augru_cell = AUGRU_Cell(embed_dim)
        self.Wa = _weight(embed_dim, embed_dim)

    def forward(self, x: Tensor, item: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All states, and the last one."""
        scores = torch.bmm(torch.matmul(x, self.Wa), item.unsqueeze(2)).squeeze(2)  # (B, L)
        attention = scores.softmax(dim=1) if mask is None else masked_softmax(scores, mask)
        cell = self.augru_cell
        fused = are_plain([cell], AUGRU_Cell)
        inputs = cell.project(x) if fused else x
        recurrent = cell.recurrent if fused else None
        state, states = x.new_zeros(x.shape[0], self.embed_dim), []
        for step, a in zip(inputs.unbind(1), attention.unsqueeze(2).unbind(1), strict=True):
            state = cell(step, state, a) if recurrent is None else cell.step(step, state, a, recurrent)
            states.append(state)
        return (torch.stack(states, dim=1) if states else x), state
