"""``check_model``: every law of a model, by name, with what failed and why."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch import split_batch
from torch_rechub.testing.law import LAWS, DoesNotApplyError, Law, Sample
from torch_rechub.types import Batch

__all__ = ["CheckReport", "LawResult", "check_model"]


class LawResult(NamedTuple):
    """The result of one law.

    Args:
        name: of the law, which ``only`` and ``skip`` take.
        law: the law as a sentence.
        status: whether it holds.
        reason: why it fails, or why it does not apply; empty where it holds.
    """

    name: str
    law: str
    status: Literal["holds", "fails", "does not apply"]
    reason: str = ""


class CheckReport(Sequence[LawResult]):
    """The results of all laws, in order; ``print`` shows a line for each.

    Args:
        model: the class of the model.
        results: of all laws.
    """

    def __init__(self, model: str, results: Sequence[LawResult]) -> None:
        self.model, self.results = model, list(results)

    @property
    def failures(self) -> list[LawResult]:
        """The laws that fail."""
        return [result for result in self.results if result.status == "fails"]

    def __getitem__(self, index):  # type: ignore[no-untyped-def, override]
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __str__(self) -> str:
        n = len(self.failures)
        head = f"{self.model}: {sum(result.status == 'holds' for result in self.results)} laws hold, {n} fail"
        lines = [f"  {result.status:<14} {result.name}: {result.reason or result.law}" for result in self.results]
        return "\n".join([head, *lines])

    __repr__ = __str__


@named_arguments
def check_model(
    model: nn.Module,
    batch: Batch,
    *,
    only: Collection[str] | None = None,
    skip: Collection[str] = (),
    on_fail: Literal["raise", "return"] = "raise",
) -> CheckReport:
    """Check that a model keeps the laws of the models of this library, on a batch of a few rows. The model itself is not changed.

    Args:
        model: maps features ``{name: (B,) or (B, L)}`` to probabilities ``(B,)``.
        batch: ``(x, y)`` with at least four rows of both classes, on the CPU.
        only: names of the laws to check; None checks all.
        skip: names of laws that are left out.
        on_fail: "raise" raises an error that lists all failures; "return" returns the report.

    Raises:
        AssertionError: a law fails; the message names each one and the reason.
        ValueError: the batch has too few rows or one class only, or a law has an unknown name.

    Example:
        >>> from torch_rechub.basic.features import SparseFeature
        >>> from torch_rechub.models.ranking import DeepFM
        >>> item = SparseFeature("item", 5, embed_dim=4)
        >>> batch = {"item": torch.tensor([0, 1, 2, 3])}, torch.tensor([0.0, 1.0, 0.0, 1.0])
        >>> report = check_model(DeepFM([item], [item], {"dims": [8]}), batch, only=["probabilities", "varies"])
        >>> print(report)
        DeepFM: 2 laws hold, 0 fail
          holds          probabilities: Features give one probability a row, and a batch the mean cross-entropy of its labels.
          holds          varies: Predictions depend on the features: rows that differ get different ones.
    """
    for name in [*(only or ()), *skip]:
        if name not in LAWS:
            raise ValueError(f"There is no law {name!r}; the laws are {', '.join(LAWS)}.")
    sample = _sample(batch)
    chosen = [law for name, law in LAWS.items() if name not in skip and (only is None or name in only)]
    report = CheckReport(type(model).__name__, [_result(law, model, sample) for law in chosen])
    if report.failures and on_fail == "raise":
        raise AssertionError(str(CheckReport(report.model, report.failures)))
    return report


def _sample(batch: Batch) -> Sample:
    x, y, _ = split_batch(batch)
    if y is None or len(y) < 4 or len(set(y.tolist())) < 2:
        raise ValueError("check_model: batch must be (x, y) with at least four rows and both labels.")
    return Sample({name: column.clone() for name, column in x.items()}, y.clone().float())


def _result(law: Law, model: nn.Module, sample: Sample) -> LawResult:
    """Check one law on copies, with random states of its own."""
    copied = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            law.check(copied, sample.clone())
        except DoesNotApplyError as reason:
            return LawResult(law.name, law.sentence, "does not apply", str(reason))
        except Exception as error:  # whatever a model raises
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            return LawResult(law.name, law.sentence, "fails", kind + " ".join(str(error).split()))
    return LawResult(law.name, law.sentence, "holds")
