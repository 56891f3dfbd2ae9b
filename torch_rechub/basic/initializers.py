"""Initializers of embedding tables: each fills a tensor in place, or makes an ``nn.Embedding`` as in the existing package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Initializer", "Pretrained", "RandomNormal", "RandomUniform", "XavierNormal", "XavierUniform"]


class Initializer:
    """The base class of initializers; a subclass implements :meth:`fill_`.

    Calling an initializer returns a new ``nn.Embedding``; the initializer does not store it.
    """

    #: Whether the table is trained; False only for a frozen :class:`Pretrained`.
    trainable: bool = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def fill_(self, weight: Tensor) -> Tensor:
        """Fill ``weight`` ``(vocab_size, embed_dim)`` in place and return it."""
        raise NotImplementedError

    def __call__(self, vocab_size: int, embed_dim: int, padding_idx: int | None = None) -> nn.Embedding:
        """A new embedding; its padding row, if there is one, is zero."""
        weight = self.fill_(torch.empty(vocab_size, embed_dim))
        embedding = nn.Embedding.from_pretrained(weight, freeze=not self.trainable, padding_idx=padding_idx)
        if padding_idx is not None and self.trainable:
            nn.init.zeros_(embedding.weight[padding_idx])
        return embedding


@named_arguments
@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Numbers from a normal distribution.

    Args:
        mean: mean of the distribution.
        std: standard deviation, at least 0.

    Example:
        >>> RandomNormal(0.0, 0.01)(vocab_size=10, embed_dim=4).weight.shape
        torch.Size([10, 4])
    """

    mean: float = 0.0
    std: float = 1.0

    def fill_(self, weight: Tensor) -> Tensor:
        """Fill with N(mean, std^2)."""
        return nn.init.normal_(weight, self.mean, self.std)


@named_arguments
@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Numbers from a uniform distribution between ``minval`` and ``maxval``."""

    minval: float = 0.0
    maxval: float = 1.0

    def fill_(self, weight: Tensor) -> Tensor:
        """Fill with U(minval, maxval)."""
        return nn.init.uniform_(weight, self.minval, self.maxval)


@named_arguments
@dataclass(frozen=True)
class XavierNormal(Initializer):
    """Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS 2010, eq. 12, normal form.

    The standard deviation is ``gain * sqrt(2 / (vocab_size + embed_dim))``.
    """

    gain: float = 1.0

    def fill_(self, weight: Tensor) -> Tensor:
        """Fill with N(0, gain^2 * 2 / (fan_in + fan_out))."""
        return nn.init.xavier_normal_(weight, self.gain)


@named_arguments
@dataclass(frozen=True)
class XavierUniform(Initializer):
    """Glorot & Bengio, AISTATS 2010, eq. 16: uniform within ``gain * sqrt(6 / (vocab_size + embed_dim))``."""

    gain: float = 1.0

    def fill_(self, weight: Tensor) -> Tensor:
        """Fill with U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out))."""
        return nn.init.xavier_uniform_(weight, self.gain)


@named_arguments
class Pretrained(Initializer):
    """Given weights, for example from another model.

    Args:
        embedding_weight: array, tensor or nested list, ``(vocab_size, embed_dim)``. It is copied.
        freeze: whether the weights are excluded from training.

    Raises:
        ValueError: the table has another shape.

    Example:
        >>> Pretrained([[1.0, 2.0], [3.0, 4.0]])(vocab_size=2, embed_dim=2).weight.requires_grad
        False
    """

    def __init__(self, embedding_weight: Any, freeze: bool = True) -> None:
        self.embedding_weight = torch.as_tensor(embedding_weight, dtype=torch.float32).detach().clone()
        self.freeze = freeze
        if self.embedding_weight.dim() != 2:
            raise ValueError(
                f"Pretrained: embedding_weight must be (vocab_size, embed_dim); got shape {tuple(self.embedding_weight.shape)}."
            )

    @property
    def trainable(self) -> bool:  # type: ignore[override]
        """Whether the weights are trained."""
        return not self.freeze

    def fill_(self, weight: Tensor) -> Tensor:
        """Copy the given weights."""
        if weight.shape != self.embedding_weight.shape:
            raise ValueError(
                f"Pretrained: embedding_weight has shape {tuple(self.embedding_weight.shape)}, but the feature needs "
                f"(vocab_size, embed_dim) = {tuple(weight.shape)}. Make the two equal."
            )
        with torch.no_grad():
            return weight.copy_(self.embedding_weight)

    def __repr__(self) -> str:
        rows, width = self.embedding_weight.shape
        return f"Pretrained(<{rows} x {width}>, freeze={self.freeze})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # immutable
