"""The exact evaluation of retrieval models: every item of the catalogue is ranked for every user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch import row_count
from torch_rechub.basic.metric.catalogue import CatalogueMetric, RankedUsers, get_catalogue_metric
from torch_rechub.engine.catalogue_ranking import ScoreBlocks, dot_scores, pair_keys, rank_catalogue
from torch_rechub.engine.distributed import SINGLE, Ranks

__all__ = ["CatalogueScorer", "ItemRows"]

logger = logging.getLogger(__name__)

#: Catalogue rows for each user of a batch: ``(B,)`` or ``(B, R)`` int64, padded with -1.
ItemRows: TypeAlias = Callable[[Any], Tensor]

#: The usual memory of one block of scores: larger blocks leave the processor's cache and are slower.
BLOCK_BYTES = 16 * 2**20
#: The most memory that one block of scores takes.
MOST_BYTES = 64 * 2**20


@named_arguments
class CatalogueScorer:
    """Recall@K, NDCG@K, HR@K, MRR and others of a retrieval model, over all items and without sampling.

    All items are candidates for each user, because metrics over sampled candidates can order two models the other way round (Krichene &
    Rendle, *On Sampled Metrics for Item Recommendation*, KDD 2020). The score is the dot product of the vectors that the objective's
    ``encode`` gives; with several vectors a user it is the largest of the dot products; an objective with a ``score_block`` method scores
    by that instead. Vectors of half precision are widened to float32 before they are multiplied.

    - Ties are broken towards the lower catalogue row.
    - A NaN score makes every metric NaN, with a logged warning. A score of -inf means that the item is not to be recommended: it is never
      a hit.
    - Users without a relevant row are left out. Their number is logged, once for each different number.
    - A row that is both seen and relevant stays a candidate: only other seen rows are masked. This is the rule of the published protocols
      (LightGCN, He et al., SIGIR 2020; BARS, Zhu et al., SIGIR 2022; RecBole, Zhao et al., CIKM 2021), which mask training items and whose
      test items are none of these.
    - With several ranks each one scores its own users, and all ranks return the same numbers: the sums are merged exactly.

    The memory is that of the item vectors and of a few blocks of at most 64 MB; the time is that of the dot products of all users and
    items, twice that where "mrr" without K is among the metrics.

    Args:
        items: yields batches of items, anew at each pass; item i of the catalogue is the i-th row in this order, on every rank.
        metrics: names (see :class:`~torch_rechub.basic.metric.catalogue.CatalogueMetric`), in any case.
        relevant: maps a batch, as the loader yields it, to the catalogue rows that are right for each user; None takes the batch's second
            entry. A row that is listed twice counts once.
        seen: maps a batch to the rows that must not be recommended; None masks nothing.
        block_size: the number of items that are scored at a time; None chooses it such that the scores take at most 64 MB.

    Attributes:
        metrics: the metrics, each with ``name`` and ``higher_is_better``; they hold no users.

    Shape:
        ``relevant`` and ``seen`` return ``(B,)`` or ``(B, R)`` integers, padded with -1.

    Raises:
        ValueError: when a metric is not known, there is none or one is given twice; when ``items`` is an iterator, which could be walked
            only once; when ``block_size`` is not a whole number >= 1.

    Example:
        >>> class Tables(nn.Module):
        ...     users = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        ...     items = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.1, 0.7]])
        ...     def to_device(self, batch, device):
        ...         return batch
        ...     def encode(self, batch, side):
        ...         return self.users[batch[0]] if side == "user" else self.items[batch]
        >>> scorer = CatalogueScorer(items=[torch.tensor([0, 1, 2])], metrics=["recall@1", "mrr"])
        >>> loader = [(torch.tensor([0, 1]), torch.tensor([1, 2]))]
        >>> scorer.score(Tables(), loader, torch.device("cpu"))
        {'recall@1': 0.5, 'mrr': 0.75}
    """

    def __init__(
        self,
        items: Iterable[Any],
        metrics: Sequence[str | CatalogueMetric] = ("recall@20", "ndcg@20"),
        *,
        relevant: ItemRows | None = None,
        seen: ItemRows | None = None,
        block_size: int | None = None,
    ) -> None:
        if isinstance(items, Iterator):
            raise ValueError(f"items is walked at each validation and must not be an iterator; got {items!r}. Give a list or a loader.")
        if block_size is not None and (not isinstance(block_size, int) or block_size < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"block_size must be a whole number >= 1, or None; got {block_size!r}.")
        if isinstance(metrics, str) or not metrics:
            raise ValueError(f"metrics must be a list of at least one metric, such as ['recall@20', 'ndcg@20']; got {metrics!r}.")
        self.items, self.relevant, self.seen, self.block_size = items, relevant, seen, block_size
        self.metrics: list[CatalogueMetric] = [get_catalogue_metric(metric) for metric in metrics]
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError(f"metrics must be different; got {names}.")
        self._logged_left_out = 0

    def __repr__(self) -> str:
        return f"CatalogueScorer({', '.join(metric.name for metric in self.metrics)})"

    def check(self, batches: Iterable[Any]) -> None:
        """Check the targets and seen rows of batches before the first step, without the model: they must lie in the catalogue.

        The number of items is that of the rows of ``items``; where these are no tensors of rows it is not known before they are encoded.

        Args:
            batches: of users, as the loader yields them.

        Raises:
            ValueError: as :meth:`score` does.
        """
        n_item = row_count(self.items)
        if n_item == 0:
            raise ValueError("CatalogueScorer: the catalogue must hold at least one item; items yields none.")
        for batch in batches:
            relevant = _checked_rows("relevant", _targets(batch) if self.relevant is None else self.relevant(batch), None, n_item)
            if self.seen is not None:
                _checked_rows("seen", self.seen(batch), len(relevant), n_item)

    def score(
        self,
        objective: nn.Module,
        loader: Iterable[Any],
        device: torch.device,
        ranks: Ranks = SINGLE,
        after_batch: Callable[[], None] | None = None,
    ) -> dict[str, float]:
        """The value of each metric over the users of ``loader``, of all ranks together.

        The caller sets ``objective.eval()`` and ``torch.no_grad()``.

        Args:
            objective: has ``to_device(batch, device)`` and ``encode(batch, side)`` with side "user" or "item", and may have
                ``score_block(users, items)``.
            loader: yields batches of users; on several ranks, those of this rank.
            device: where the objective is.
            ranks: the processes among which the users are shared.
            after_batch: called after each batch.

        Shape:
            ``encode``: ``(B, D)``, or ``(B, K, D)`` for K vectors a user. ``score_block``: ``(B, N)`` scores of B users and N items.

        Raises:
            ValueError: when the catalogue is empty, vectors or scores have another shape than they must, a batch has no targets, or a
                relevant or seen row lies outside the catalogue.
        """
        items = self._encode_items(objective, device)
        totals, n_left_out = [metric.empty() for metric in self.metrics], 0
        for batch in loader:
            users = self._rank(objective, batch, items, device)
            has_relevant = users.n_relevant > 0
            n_left_out += int((~has_relevant).sum())
            for metric in totals:
                metric.update(users.select(has_relevant))
            if after_batch is not None:
                after_batch()
        return self._merge(totals, n_left_out, ranks)

    def _encode_items(self, objective: nn.Module, device: torch.device) -> Tensor:
        """The vectors of all items, ``(N, D)``."""
        parts = [_encode(objective, batch, "item", device) for batch in self.items]
        items = torch.cat(parts) if parts else torch.empty(0, 0)
        if not len(items):
            raise ValueError("CatalogueScorer: the catalogue must hold at least one item; items yields none.")
        if items.dim() != 2 and _score_block(objective) is None:
            raise ValueError(f"CatalogueScorer: encode(batch, 'item') must return (N, D); got {tuple(parts[0].shape)}.")
        return items

    def _rank(self, objective: nn.Module, batch: Any, items: Tensor, device: torch.device) -> RankedUsers:
        relevant_rows = _targets(batch) if self.relevant is None else self.relevant(batch)
        users = _encode(objective, batch, "user", device)
        relevant = _pairs("relevant", relevant_rows, users, items)
        masked = relevant[:0]
        if self.seen is not None:
            masked = _pairs("seen", self.seen(batch), users, items)
            masked = masked[~torch.isin(masked, relevant)]
        score_block = _score_block(objective)
        if score_block is None:
            users, items = _matched(users, items)
        score = dot_scores if score_block is None else _checked_scores(score_block)
        lengths = [metric.k for metric in self.metrics]
        k = max(length or 1 for length in lengths)
        blocks = ScoreBlocks(score, users, items, self.block_size or _block_size(users, k), masked)
        return rank_catalogue(blocks, relevant, k, with_first=None in lengths)

    def _merge(self, totals: list[CatalogueMetric], n_left_out: int, ranks: Ranks) -> dict[str, float]:
        """The values over all ranks: every rank merges the states of all, in the same order."""
        states = ranks.all_gather_objects(([metric.state_dict() for metric in totals], n_left_out))
        merged = [metric.empty() for metric in totals]
        for rank_states, _ in states:
            for metric, state in zip(merged, rank_states, strict=True):
                part = metric.empty()
                part.load_state_dict(state)
                metric.merge(part)
        self._log_left_out(sum(n for _, n in states), ranks)
        return {metric.name: metric.compute() for metric in merged}

    def _log_left_out(self, n_left_out: int, ranks: Ranks) -> None:
        if n_left_out != self._logged_left_out and ranks.is_first:
            logger.warning("CatalogueScorer: %d users have no relevant row and are left out of every metric.", n_left_out)
        self._logged_left_out = n_left_out


def _encode(objective: nn.Module, batch: Any, side: str, device: torch.device) -> Tensor:
    """The vectors of one side, at least in float32."""
    encoder = cast(Any, objective)
    vectors: Tensor = encoder.encode(encoder.to_device(batch, device), side)
    return vectors.float() if vectors.is_floating_point() and vectors.element_size() < 4 else vectors


def _score_block(objective: nn.Module) -> Callable[[Tensor, Tensor], Tensor] | None:
    return getattr(objective, "score_block", None)


def _block_size(users: Tensor, k: int) -> int:
    """The items of a block: on a CPU torch.topk of k + 1 scores is several times as fast from 64 * (k + 1) items on."""
    n_vector = users.shape[1] if users.dim() == 3 else 1
    item_bytes = max(1, len(users) * n_vector * users.element_size())
    return max(1, min(max(BLOCK_BYTES // item_bytes, 64 * (k + 1)), MOST_BYTES // item_bytes))


def _targets(batch: Any) -> Any:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2 or batch[1] is None:
        raise ValueError(
            "CatalogueScorer: a batch must be (x, y) with the relevant catalogue rows in y; got a batch without y. "
            "Give relevant=, a function of the batch."
        )
    return batch[1]


def _pairs(what: str, rows: Any, users: Tensor, items: Tensor) -> Tensor:
    """Catalogue rows of each user, once they are checked, as pairs of a user and a row: see :func:`pair_keys`."""
    return pair_keys(_checked_rows(what, rows, len(users), len(items)).to(items.device), len(items))


def _checked_rows(what: str, rows: Any, n_user: int | None, n_item: int | None) -> Tensor:
    """Catalogue rows of each user, ``(B, R)``, once they are checked as far as the numbers of users and items are known.

    Raises:
        ValueError: when they have another shape or dtype, or lie outside the catalogue.
    """
    is_rows = isinstance(rows, Tensor) and rows.dtype in {torch.int64, torch.int32} and rows.dim() in {1, 2}
    if not is_rows or (n_user is not None and len(rows) != n_user):
        came = f"{tuple(rows.shape)} {rows.dtype}" if isinstance(rows, Tensor) else type(rows).__name__
        users = "the batch's users" if n_user is None else f"{n_user} users"
        raise ValueError(f"CatalogueScorer: {what} must be (B,) or (B, R) int64 catalogue rows of {users}; got {came}.")
    rows = rows.long().reshape(len(rows), -1) if rows.numel() else rows.new_empty(len(rows), 0, dtype=torch.int64)
    outside = ((rows < -1) | (rows >= (torch.iinfo(torch.int64).max if n_item is None else n_item))).nonzero()
    if len(outside):
        user, column = outside[0].tolist()
        below = "0 or more" if n_item is None else f"< {n_item}, the number of items"
        raise ValueError(
            f"CatalogueScorer: {what} rows must be {below}, or -1 for padding; got {int(rows[user, column])} "
            f"for user {user} of the batch. Encode items by their place in items."
        )
    return rows


def _matched(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors of both sides in one precision; their widths must agree."""
    if users.dim() not in {2, 3} or users.shape[-1] != items.shape[-1]:
        raise ValueError(
            f"CatalogueScorer: encode(batch, 'user') must return (B, D) or (B, K, D) with the D={items.shape[-1]} of the items; "
            f"got {tuple(users.shape)}."
        )
    dtype = torch.promote_types(users.dtype, items.dtype)
    return users.to(dtype), items.to(dtype)


def _checked_scores(score_block: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The same function with its shape checked; its result is copied, because masking changes it in place."""

    def score(users: Tensor, items: Tensor) -> Tensor:
        scores = score_block(users, items)
        if scores.shape != (len(users), len(items)):
            raise ValueError(f"CatalogueScorer: score_block must return {(len(users), len(items))}; got {tuple(scores.shape)}.")
        dtype = torch.promote_types(scores.dtype, torch.float32) if scores.is_floating_point() else torch.float64
        return scores.to(dtype, copy=True)

    return score
