"""Reads frappe.toml: which model is trained with which arguments, and what is published for it."""

from __future__ import annotations

import inspect
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from torch_rechub.models import ranking

__all__ = ["Setting", "read_settings"]

TABLE = Path(__file__).with_name("frappe.toml")
#: How far the mean AUC may lie below the published one, with and without a deep network, and the mean log loss above it.
BELOW_AUC, BELOW_AUC_SHALLOW, ABOVE_LOGLOSS = 0.002, 0.004, 0.02


@dataclass(frozen=True)
class Setting:
    """One table of frappe.toml."""

    name: str
    model: str
    published: list[float]
    five_runs: list[float] | None = None
    l2: float = 0.0
    on_all: bool = False
    network: bool = True
    arguments: dict[str, Any] = field(default_factory=dict)
    features: dict[str, list[str]] = field(default_factory=dict)

    def make(self, columns: list[Any]) -> nn.Module:
        """The model of all columns."""
        kind = getattr(ranking, self.model)
        by_name = {column.name: column for column in columns}
        arguments: dict[str, Any] = {key: _arguments(value) for key, value in self.arguments.items()}
        for name in inspect.signature(kind).parameters:
            if name in self.features:
                arguments[name] = [by_name[column] for column in self.features[name]]
            elif name.endswith("features") and name not in arguments:
                arguments[name] = columns
        return kind(**arguments)

    @property
    def penalty(self) -> dict[str, float]:
        """``regularization_params``: the library's penalty has no factor 1/2."""
        return {"embedding_l2": self.l2 / 2} | ({"dense_l2": self.l2 / 2} if self.on_all else {})

    def verdict(self, auc: float, logloss: float) -> str:
        """Whether means of the test AUC and log loss reach the published ones; the means of five runs, where there are some."""
        auc_goal, logloss_goal = self.five_runs or self.published
        below = BELOW_AUC if self.network else BELOW_AUC_SHALLOW
        missed = [f"AUC {auc - auc_goal:+.4f}"] if auc < auc_goal - below else []
        missed += [f"log loss {logloss - logloss_goal:+.4f}"] if logloss > logloss_goal + ABOVE_LOGLOSS else []
        return f"misses: {', '.join(missed)}" if missed else "reached"


def _arguments(value: Any) -> Any:
    """TOML has no null: "none" is None."""
    if isinstance(value, dict):
        return {key: _arguments(inner) for key, inner in value.items()}
    return None if value == "none" else value


def read_settings() -> dict[str, Setting]:
    """All settings, in the order of the file."""
    tables = tomllib.loads(TABLE.read_text())
    return {name: Setting(**{"name": name, "model": name, **table}) for name, table in tables.items()}
