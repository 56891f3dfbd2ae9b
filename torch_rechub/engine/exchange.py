"""Sums over all processes of one optimizer step: sizes, gradients, and the buffers that a forward pass changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torch_rechub.basic.layers import EmbeddingTable
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.objective import Size
from torch_rechub.optim.rows import coalesced

__all__ = ["Exchange", "broadcast_weights"]

BUCKET = 1 << 22  #: largest number of elements that are exchanged together; a larger gradient is exchanged alone


def broadcast_weights(module: nn.Module, ranks: Ranks) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if not is_lazy(tensor):
                ranks.broadcast(tensor)


class Exchange:
    """The collective operations of one optimizer step. Every rank computes the same sums, with the same bits.

    Args:
        objective: whose gradients and buffers are exchanged.
        ranks: the processes.
    """

    def __init__(self, objective: nn.Module, ranks: Ranks) -> None:
        self.objective, self.ranks = objective, ranks
        self.n_row: float = 0  # of this rank in the present step
        self.n_row_of_all: float = 0
        self._before: Tensor | None = None  # the averaged buffers when the step began, (n,)

    def totals(self, sizes: Sequence[Mapping[str, Size]], names: Sequence[str], n_row: int) -> dict[str, Size]:
        """The sums of the sizes of this step's batches over all ranks, and the number of ``"batches"``. Nothing waits for a GPU.

        Args:
            sizes: of each batch of this rank.
            names: the terms, in one order on all ranks.
            n_row: number of rows of this rank.
        """
        self.n_row = self.n_row_of_all = n_row
        if self.ranks.is_single:
            return {**{name: sum(each[name] for each in sizes) for name in names}, "batches": len(sizes)}
        self._before = self._buffer_values()
        own = [float(sum(float(each[name]) for each in sizes)) for name in names]
        gathered = self.ranks.all_gather(torch.tensor([*own, float(len(sizes)), float(n_row)], dtype=torch.float64))
        *totals, n_batch, self.n_row_of_all = gathered.sum(0).tolist()
        return {**dict(zip(names, totals, strict=True)), "batches": int(n_batch)}

    @torch.no_grad()
    def sum_values(self, values: Tensor) -> Tensor:
        """The sum of a vector over all ranks, in float64."""
        return self.ranks.all_gather(values.double()).sum(0)

    @torch.no_grad()
    def average_buffers(self) -> None:
        """Replace the buffers that the step changed on any rank by their mean over the rows of all ranks in this step.

        These are floating-point buffers, and single integers, which are rounded. A constant buffer keeps its bits.
        """
        values, before = self._buffer_values(), self._before
        if values is None or before is None:
            return
        lengths = [buffer.numel() for buffer in self._averaged_buffers()]
        same = (values == before) | (values.isnan() & before.isnan())
        changed = torch.stack([~part.all() for part in same.split(lengths)])
        own = values * self.n_row if self.n_row else torch.zeros_like(values)  # not 0 * infinity
        summed = self.ranks.all_gather(torch.cat([own, changed.double()])).sum(0)
        *sums, n_changed = summed.split([*lengths, len(lengths)])
        for buffer, total, n in zip(self._averaged_buffers(), sums, n_changed, strict=True):
            mean = (total / self.n_row_of_all).view(buffer.shape)
            mean = mean if buffer.is_floating_point() else mean.round()
            buffer.copy_(torch.where(n > 0, mean.to(buffer.dtype), buffer))

    def _averaged_buffers(self) -> list[Tensor]:
        return [buffer for buffer in self.objective.buffers() if buffer.is_floating_point() or buffer.dim() == 0]

    @torch.no_grad()
    def _buffer_values(self) -> Tensor | None:
        """A copy of the averaged buffers as one vector; None without any, and in a single process."""
        buffers = [] if self.ranks.is_single else self._averaged_buffers()
        return torch.cat([buffer.reshape(-1).double() for buffer in buffers]) if buffers else None

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Each gradient summed over all ranks; None where no rank has one. A sparse one is summed by rows."""
        if self.ranks.is_single:
            return list(gradients)
        kinds = [0 if gradient is None else 2 if gradient.is_sparse else 1 for gradient in gradients]
        everywhere = [max(column) if 1 not in column else 1 for column in zip(*self.ranks.all_gather_ints(kinds), strict=True)]
        summed: list[Tensor | None] = [None] * len(gradients)
        dense = [i for i, kind in enumerate(everywhere) if kind == 1]
        for i in dense:
            gradient = gradients[i]
            gradient = torch.zeros_like(parameters[i]) if gradient is None else gradient
            summed[i] = gradient.to_dense() if gradient.is_sparse else gradient.contiguous()
        for bucket in _buckets([tensor for i in dense if (tensor := summed[i]) is not None]):
            self._all_reduce(bucket)
        sparse = [i for i, kind in enumerate(everywhere) if kind == 2]
        for i, gradient in zip(sparse, self._sum_rows([parameters[i] for i in sparse], [gradients[i] for i in sparse]), strict=True):
            summed[i] = gradient
        return summed

    def _all_reduce(self, bucket: list[Tensor]) -> None:
        """Sum tensors of one type and device in one operation."""
        if len(bucket) == 1:
            self.ranks.all_reduce(bucket[0])
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        self.ranks.all_reduce(flat)
        for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def _sum_rows(self, weights: list[Tensor], gradients: list[Tensor | None]) -> list[Tensor]:
        """Sparse gradients summed over all ranks, in one exchange: each rank's rows and values as bytes, padded to the longest."""
        if not weights:
            return []
        parts = [_rows_of(weight, gradient) for weight, gradient in zip(weights, gradients, strict=True)]
        counts = self.ranks.all_gather_ints([len(rows) for rows, _ in parts])
        widths = [(rows.element_size(), values.element_size() * values.shape[1]) for rows, values in parts]
        longest = max(sum(n * (a + b) for n, (a, b) in zip(each, widths, strict=True)) for each in counts)
        own = torch.cat([_bytes(tensor) for part in parts for tensor in part])
        gathered = self.ranks.all_gather(nn.functional.pad(own, (0, longest - len(own))))
        begin = [0] * self.ranks.size
        summed: list[Tensor] = []
        for i, (weight, (rows, values)) in enumerate(zip(weights, parts, strict=True)):
            pieces: tuple[list[Tensor], list[Tensor]] = ([], [])
            for rank in range(self.ranks.size):
                for piece, like, width in zip(pieces, (rows, values), widths[i], strict=True):
                    end = begin[rank] + counts[rank][i] * width
                    piece.append(gathered[rank, begin[rank] : end].clone().view(like.dtype).view(-1, *like.shape[1:]))
                    begin[rank] = end
            together = torch.sparse_coo_tensor(torch.cat(pieces[0])[None], torch.cat(pieces[1]), weight.shape, check_invariants=False)
            summed.append(_coalesced_tensor(together))
        return summed

    def look_up_rows(self) -> None:
        """Bring the rows that other ranks read up to date here, so that they lag nowhere when the optimizer steps."""
        if self.ranks.is_single:
            return
        for table in self.objective.modules():
            if isinstance(table, EmbeddingTable) and table.owner is not None and table.weight.grad is not None:
                gradient = table.weight.grad
                if gradient.is_sparse:
                    table.owner.look_up(coalesced(gradient)[0])


def _rows_of(weight: Tensor, gradient: Tensor | None) -> tuple[Tensor, Tensor]:
    """The rows ``(n,)`` of a sparse gradient and their values ``(n, D)``."""
    if gradient is None:
        return torch.empty(0, dtype=torch.int64, device=weight.device), weight.new_empty(0, weight.shape[1])
    rows, values = coalesced(gradient)
    return rows, values.contiguous()


def _coalesced_tensor(gradient: Tensor) -> Tensor:
    rows, values = coalesced(gradient)
    return torch.sparse_coo_tensor(rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors of one type and device together, up to a size."""
    buckets: list[list[Tensor]] = []
    open_buckets: dict[Any, int] = {}
    for tensor in tensors:
        key = (tensor.dtype, tensor.device)
        at = open_buckets.get(key)
        if at is None or sum(other.numel() for other in buckets[at]) + tensor.numel() > BUCKET:
            open_buckets[key] = at = len(buckets)
            buckets.append([])
        buckets[at].append(tensor)
    return buckets
