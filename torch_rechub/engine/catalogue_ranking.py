"""The exact ranking of a catalogue for a batch of users, in blocks of items. Here B is users, N items, P pairs of a user and an item."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torch_rechub.basic.metric.catalogue import RankedUsers

__all__ = ["ScoreBlocks", "dot_scores", "pair_keys", "rank_catalogue", "top_of"]

NEVER = float("-inf")  #: the score of an item that is not to be recommended


def dot_scores(users: Tensor, items: Tensor) -> Tensor:
    """The dot products of users and items; with several vectors a user, the largest one (Li et al., *MIND*, CIKM 2019).

    The product is computed in the precision of the vectors, also under autocast.

    Shape:
        ``users``: ``(B, D)`` or ``(B, K, D)``. ``items``: ``(N, D)``. Result: ``(B, N)``.
    """
    with torch.autocast(users.device.type, enabled=False):
        scores = users.reshape(-1, users.shape[-1]) @ items.T  # (B * K, N)
    return scores if users.dim() == 2 else scores.view(*users.shape[:2], len(items)).amax(dim=1)


def pair_keys(rows: Tensor, n_item: int) -> Tensor:
    """Pairs of a user and an item as the numbers ``user * n_item + item``, sorted, each once; negative rows are padding.

    Shape:
        ``rows``: ``(B, R)``. Result: ``(P,)``.

    Example:
        >>> pair_keys(torch.tensor([[3, 1], [1, -1]]), n_item=10)
        tensor([ 1,  3, 11])
    """
    users = torch.arange(len(rows), device=rows.device).unsqueeze(1)
    return torch.unique((users * n_item + rows)[rows >= 0])


class ScoreBlocks:
    """The scores of a batch of users, in blocks of items. It can be walked several times and gives the same scores.

    Args:
        score: maps users ``(B, ...)`` and items ``(n, ...)`` to new scores ``(B, n)``, which are changed in place.
        users: the vectors of the users, ``(B, ...)``.
        items: the vectors of the catalogue, ``(N, ...)``.
        block_size: the number of items in a block, >= 1.
        masked: the pairs whose score becomes -inf, as :func:`pair_keys` gives them.
    """

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor], users: Tensor, items: Tensor, block_size: int, masked: Tensor) -> None:
        self.score, self.users, self.items, self.block_size = score, users, items, block_size
        self.n_user, self.n_item = len(users), len(items)
        self.masked_users, self.masked_rows = masked // self.n_item, masked % self.n_item

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """The first row of each block, and the scores ``(B, n)``."""
        for start in range(0, self.n_item, self.block_size):
            scores = self.score(self.users, self.items[start : start + self.block_size])
            inside = (self.masked_rows >= start) & (self.masked_rows < start + scores.shape[1])
            scores[self.masked_users[inside], self.masked_rows[inside] - start] = NEVER
            yield start, scores


def rank_catalogue(blocks: ScoreBlocks, relevant: Tensor, k: int, with_first: bool) -> RankedUsers:
    """Rank all items for each user of a batch: which of the first ``k`` places are hits, and where the first relevant item is.

    A tie goes to the lower catalogue row. An item whose score is -inf is not recommended: it is never a hit.

    Args:
        blocks: the scores.
        relevant: the relevant pairs, as :func:`pair_keys` gives them.
        k: the length of the lists, >= 1; may exceed the number of items.
        with_first: also the place of the first relevant item in the whole catalogue, which takes a second walk over the scores.
    """
    device, users, rows = relevant.device, relevant // blocks.n_item, relevant % blocks.n_item
    values = torch.empty(blocks.n_user, 0, device=device)
    top = torch.empty(blocks.n_user, 0, dtype=torch.int64, device=device)
    scores_of_relevant = torch.zeros(len(relevant), device=device)
    for start, scores in blocks:
        block_values, columns = top_of(scores, k)
        values, order = torch.cat([values.to(scores.dtype), block_values], 1).sort(dim=1, descending=True, stable=True)
        values, top = values[:, :k], torch.cat([top, columns + start], 1).gather(1, order[:, :k])
        if with_first:
            inside = (rows >= start) & (rows < start + scores.shape[1])
            scores_of_relevant = scores_of_relevant.to(scores.dtype)
            scores_of_relevant[inside] = scores[users[inside], rows[inside] - start]
    keys = torch.arange(blocks.n_user, device=device).unsqueeze(1) * blocks.n_item + top
    hits = torch.isin(keys, relevant) & (values > NEVER)  # (B, min(k, N))
    first = _first_places(blocks, users, rows, scores_of_relevant) if with_first else None
    hits = torch.nn.functional.pad(hits, (0, k - hits.shape[1]))
    return RankedUsers(hits, torch.bincount(users, minlength=blocks.n_user), first, values[:, 0].isnan())


def top_of(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest scores of each row in descending order, and their columns; a tie goes to the lower column, NaN comes first.

    ``torch.topk`` leaves open which of equal scores it returns. One more score than needed shows whether the last place is tied; in those
    rows the columns are chosen again. Columns of score -inf are in any order.

    Shape:
        ``scores``: ``(B, n)``. Both results: ``(B, min(k, n))``.

    Example:
        >>> top_of(torch.tensor([[1.0, 3.0, 1.0, 3.0, 1.0]]), k=3)
        (tensor([[3., 3., 1.]]), tensor([[1, 3, 0]]))
    """
    if k >= scores.shape[1]:
        values, columns = scores.sort(dim=1, descending=True, stable=True)
        return values, columns
    values, columns = scores.topk(k + 1, dim=1)
    last, columns = values[:, k - 1], columns[:, :k].contiguous()
    tied = (last == values[:, k]) & (last > NEVER)
    if tied.any():
        columns[tied] = _lowest_columns(scores[tied], last[tied], k)
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def _lowest_columns(scores: Tensor, last: Tensor, k: int) -> Tensor:
    """The columns of all scores above ``last``, filled up to ``k`` with the lowest columns of scores equal to it."""
    n, last = scores.shape[1], last.unsqueeze(1)
    nearness = torch.arange(n, 0, -1, dtype=torch.int32, device=scores.device)  # larger for a lower column
    above = torch.where(scores < last, 0, nearness + n)  # a NaN is above
    return torch.where(scores == last, nearness, above).topk(k, dim=1).indices


def _first_places(blocks: ScoreBlocks, users: Tensor, rows: Tensor, scores_of_relevant: Tensor) -> Tensor:
    """The place of each user's best relevant item: 1 and the number of items before it; 0 without a relevant item above -inf. ``(B,)``"""
    best = scores_of_relevant.new_full((blocks.n_user,), NEVER).scatter_reduce_(0, users, scores_of_relevant, "amax")
    is_best = scores_of_relevant == best[users]
    row = rows.new_full((blocks.n_user,), blocks.n_item).scatter_reduce_(0, users[is_best], rows[is_best], "amin")
    n_before = torch.zeros_like(row)
    for start, scores in blocks:
        n_above = (scores > best.unsqueeze(1)).sum(dim=1, dtype=torch.int32)
        n_tied = (scores >= best.unsqueeze(1)).sum(dim=1, dtype=torch.int32) - n_above
        n_before += n_above
        is_inside = (row >= start) & (row < start + scores.shape[1])
        tied = (n_tied > is_inside) & (best > NEVER)  # more than the item itself
        if tied.any():
            is_lower = torch.arange(start, start + scores.shape[1], device=row.device) < row[tied].unsqueeze(1)
            n_before[tied] += ((scores[tied] == best[tied].unsqueeze(1)) & is_lower).sum(dim=1)
    return torch.where(best > NEVER, n_before + 1, 0)
