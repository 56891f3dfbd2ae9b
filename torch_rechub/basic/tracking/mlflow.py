"""MLflow."""

from __future__ import annotations

import re
import time
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.tracking.base import BaseLogger, Steps, numbers, plain, require
from torch_rechub.storage import expand_address

__all__ = ["MLflowLogger"]

PARAMS_PER_REQUEST = 100  # the most that a server accepts


@named_arguments
class MLflowLogger(BaseLogger):
    """MLflow, through its client: no global run is touched. ``tracking_uri="sqlite:///mlflow.db"`` needs no server.

    MLflow stores infinities as the largest float. It does not accept ``@`` in names: ``ndcg@10`` becomes ``ndcg_10``.

    Args:
        experiment_name: the experiment, created if missing.
        run_name: the name of the run; None lets MLflow choose one.
        tracking_uri: a server or database; None uses the setting of MLflow.
        tags: the tags of the run.
        run_id: the id of an existing run to continue.

    Attributes:
        run_id: the id of the run in MLflow.
        client: the client object of the library, for what this adapter does not cover.

    Raises:
        ImportError: telling how to install it, when ``mlflow`` is not installed.
    """

    def __init__(
        self,
        experiment_name: str = "torch-rechub",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: dict[str, Any] | None = None,
        run_id: str | None = None,
    ) -> None:
        self._entities: Any = require("mlflow.entities", "MLflowLogger", "mlflow")
        self.client: Any = require("mlflow.tracking", "MLflowLogger", "mlflow").MlflowClient(
            None if tracking_uri is None else expand_address(tracking_uri)
        )
        self.run_id: str = run_id or self._new_run(experiment_name, run_name, tags)
        self._steps = Steps()
        self._finished = False

    def _new_run(self, experiment_name: str, run_name: str | None, tags: dict[str, Any] | None) -> str:
        existing = self.client.get_experiment_by_name(experiment_name)
        experiment_id = self.client.create_experiment(experiment_name) if existing is None else existing.experiment_id
        return self.client.create_run(experiment_id, run_name=run_name, tags=tags).info.run_id

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        milliseconds, position = int(time.time() * 1000), self._steps.at(step)
        points = [self._entities.Metric(_valid_name(name), value, milliseconds, position) for name, value in numbers(metrics).items()]
        self.client.log_batch(self.run_id, metrics=points)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        logged = self.client.get_run(self.run_id).data.params  # of a continued run; MLflow refuses to change a logged value
        texts = {_valid_name(name): str(plain(value)) for name, value in params.items()}
        new = [self._entities.Param(name, text) for name, text in texts.items() if logged.get(name) != text]
        for start in range(0, len(new), PARAMS_PER_REQUEST):
            self.client.log_batch(self.run_id, params=new[start : start + PARAMS_PER_REQUEST])

    def finish(self) -> None:
        if not self._finished:
            self._finished = True
            self.client.set_terminated(self.run_id)


def _valid_name(name: str) -> str:
    """``name`` with each character that MLflow does not accept replaced by ``_``."""
    return re.sub(r"[^\w./ :-]", "_", name)
