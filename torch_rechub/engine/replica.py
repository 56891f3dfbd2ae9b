"""One model in several processes: equal weights everywhere, moved by the mean gradient of all rows together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy

from torch_rechub.basic.batch.parts import at_least_tiny
from torch_rechub.basic.layers import EmbeddingTable
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.gradients import Gradients
from torch_rechub.engine.train_step import TrainStep
from torch_rechub.optim.clip import clip_grad_norm_
from torch_rechub.optim.rows import coalesced

__all__ = ["SharedGradients", "replicate", "spread_weights"]


def spread_weights(model: nn.Module, ranks: Ranks) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if not is_lazy(tensor):  # of which DistributedDataParallel speaks better
                ranks.spread(tensor)


def replicate(step: TrainStep) -> nn.Module:
    """The step in DistributedDataParallel, save for tables in row mode, whose gradients are exchanged row by row.

    Parameters that a batch does not reach are looked for: that keeps the buckets, and so the order of sums, the same in every step.
    """
    in_rows = {id(table.weight) for table in _tables_in_rows(step)}
    others = [parameter for parameter in step.parameters() if id(parameter) not in in_rows and parameter.requires_grad]
    if not others:
        return step
    names = [name for name, parameter in step.named_parameters() if id(parameter) in in_rows]
    names += [name for name, _ in step.named_buffers()]  # SharedGradients keeps them equal, of the rows of all ranks
    step._ddp_params_and_buffers_to_ignore = names  # type: ignore[assignment]
    step.unreached = nn.Parameter(others[0].new_zeros(1))  # torch warns where it looks for such and finds none
    return DistributedDataParallel(step, init_sync=False, find_unused_parameters=True)


class SharedGradients(Gradients):
    """Gradients of the batches of all ranks together, as if one process had read them as one batch.

    ``g = sum(size_r * g_r) / sum(size_r)`` over ranks r and accumulated batches, where ``g_r`` is the gradient of a batch's mean loss and
    ``size_r`` its rows or the sum of their weights. Every rank computes the same sums in the same order. The floating-point statistics
    of batch norm become their mean over the rows of all ranks, so that these, too, are the same everywhere.

    Args:
        step: what :func:`replicate` gave.
        model: whose parameters collect the gradients.
        ranks: who takes part.
        accumulate: batches a step.
        clip_norm: largest 2-norm of all gradients together; None leaves them as they are.
    """

    def __init__(self, step: nn.Module, model: nn.Module, ranks: Ranks, accumulate: int = 1, clip_norm: float | None = None) -> None:
        super().__init__(model, accumulate, clip_norm)
        self.step, self.ranks = step, ranks
        self.tables = _tables_in_rows(model)
        self.buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point() or buffer.dim() == 0]
        self._n_row = 0  # of this rank, in the present group

    def begin(self, last: bool) -> None:
        """Before a batch: DistributedDataParallel exchanges gradients behind a group's last one alone."""
        if isinstance(self.step, DistributedDataParallel):
            self.step.require_backward_grad_sync = last or self.n_batch + 1 == self.accumulate

    def add(self, loss: Tensor, size: Tensor | float, n_row: int) -> tuple[Tensor, Tensor | float]:
        """Backward through the loss of one batch; gives the mean loss and the size of the batches of all ranks."""
        (loss * size).backward()
        self.n_batch += 1
        self._n_row += n_row
        with torch.no_grad():
            own = torch.as_tensor(size, dtype=torch.float64, device=loss.device)
            moving = [buffer.reshape(-1).double() for buffer in self.buffers]
            told = torch.cat([(loss.double() * own).view(1), own.view(1), own.new_full((1,), n_row), *(part * n_row for part in moving)])
            total, size, rows, *_ = together = self.ranks.vectors(told).sum(0)
            self._take_buffers(together[3:] / rows)
            self._size = self._size + size
            return (total / at_least_tiny(size)).to(loss.dtype), size

    def _take_buffers(self, means: Tensor) -> None:
        for buffer, mean in zip(self.buffers, means.split([buffer.numel() for buffer in self.buffers]), strict=True):
            buffer.copy_(mean.view(buffer.shape) if buffer.is_floating_point() else mean.view(buffer.shape).round())

    @torch.no_grad()
    def finish(self) -> int:
        """Make the gathered gradients those of the mean loss over all ranks, and clip them; gives the rows that other ranks read."""
        assert isinstance(self._size, Tensor)
        size, in_rows = at_least_tiny(self._size), {id(table.weight) for table in self.tables}
        for parameter in self.model.parameters():
            if parameter.grad is not None and id(parameter) not in in_rows:
                parameter.grad.div_((size / self.ranks.size).to(parameter.grad.dtype))  # DistributedDataParallel divides by the ranks
        n_row, own = self._exchange_rows(size), self._n_row
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.n_batch, self._size, self._n_row = 0, 0.0, 0
        return n_row - own

    def _exchange_rows(self, size: Tensor) -> int:
        """Give every rank the sums of all ranks' table gradients, divided by ``size``; returns the rows of all ranks' batches."""
        dense = [table for table in self.tables if table.weight.grad is not None and not table.weight.grad.is_sparse]
        for table in dense:  # a penalty reaches all rows
            self.ranks.add_up(table.weight.grad.div_(size))  # type: ignore[union-attr,arg-type]
        tables = [table for table in self.tables if table not in dense]
        parts = [_rows_of(table.weight) for table in tables]
        n_row, *counts = zip(*self.ranks.numbers([self._n_row, *(len(rows) for rows, _ in parts)]), strict=True)
        if any(map(any, counts)):
            self._add_rows(tables, parts, [list(each) for each in zip(*counts, strict=True)], size)
        return sum(n_row)

    def _add_rows(self, tables: list[EmbeddingTable], parts: list[tuple[Tensor, Tensor]], counts: list[list[int]], size: Tensor) -> None:
        """One exchange for all tables: each rank's rows and values as bytes, as many as the longest needs."""
        widths = [(rows.element_size(), values.element_size() * values.shape[1]) for rows, values in parts]
        longest = max(sum(n * (a + b) for n, (a, b) in zip(each, widths, strict=True)) for each in counts)
        own = torch.cat([_bytes(tensor) for part in parts for tensor in part])
        sent = self.ranks.vectors(nn.functional.pad(own, (0, longest - len(own))))
        begin = [0] * self.ranks.size
        for i, (table, (rows, values)) in enumerate(zip(tables, parts, strict=True)):
            found: list[list[Tensor]] = [[], []]
            for rank in range(self.ranks.size):
                for kind, like, width in zip(found, (rows, values), widths[i], strict=True):
                    end = begin[rank] + counts[rank][i] * width
                    kind.append(sent[rank, begin[rank] : end].clone().view(like.dtype).view(-1, *like.shape[1:]))
                    begin[rank] = end
            together = torch.sparse_coo_tensor(torch.cat(found[0])[None], torch.cat(found[1]), table.weight.shape, check_invariants=False)
            _take_rows(table, *coalesced(together), size)


def _tables_in_rows(module: nn.Module) -> list[EmbeddingTable]:
    return [table for table in module.modules() if isinstance(table, EmbeddingTable) and table.owner is not None]


def _rows_of(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The rows ``(n,)`` of a table's gradient and their values ``(n, D)``."""
    if weight.grad is None:
        return torch.empty(0, dtype=torch.int64, device=weight.device), weight.new_empty(0, weight.shape[1])
    rows, values = coalesced(weight.grad)
    return rows, values.contiguous()


def _take_rows(table: EmbeddingTable, rows: Tensor, values: Tensor, size: Tensor) -> None:
    """Put sums over all ranks in place of a table's gradient; their rows are read here as well, so that they lag nowhere."""
    owner: Any = table.owner
    owner.look_up(rows)
    values = values.div_(size.to(values.dtype))
    table.weight.grad = torch.sparse_coo_tensor(rows[None], values, table.weight.shape, is_coalesced=True, check_invariants=False)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)
