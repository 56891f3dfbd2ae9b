"""Settings that cannot be combined."""

from __future__ import annotations

from typing import Literal

from torch_rechub.basic.callback.early_stopping.limits import Limits

__all__ = ["check_together"]


def check_together(several: bool, significant: bool, mode: Literal["max", "min"] | None, groups: str | None, limits: Limits) -> None:
    """Refuse such settings of an ``EarlyStopper``.

    Args:
        several: whether a weighted sum of metrics is monitored.
        significant: whether an improvement must be significant.
        mode: as given; None where it is not known yet.
        groups: the column of the groups.
        limits: target and divergence.

    Raises:
        ValueError: naming both.
    """
    if mode == "min" and (several or significant):
        what = "a weighted sum" if several else "the AUC, which min_delta='significant' tests,"
        raise ValueError(f"EarlyStopper: of {what} larger is better; got mode='min'. Leave mode out.")
    if several and significant:
        raise ValueError("EarlyStopper: min_delta='significant' tests one AUC; got a monitor of several metrics. Monitor 'auc' alone.")
    if groups is not None and not significant:
        raise ValueError(f"EarlyStopper: groups={groups!r} is read by min_delta='significant' alone. Give that too, or leave groups out.")
    if mode is not None:
        limits.check(mode)
