"""MLflow."""

from __future__ import annotations

import re
import time
from typing import Any

from torch_rechub.basic.tracking.base import BaseLogger, Steps, numbers, plain, require

__all__ = ["MLflowLogger"]

BATCH = 100  # parameters that a server takes at once


class MLflowLogger(BaseLogger):
    """MLflow, through its client: no global run is touched. ``tracking_uri="sqlite:///mlflow.db"`` needs no server.

    MLflow stores infinities as the largest float, and takes no ``@`` in names: ``ndcg@10`` becomes ``ndcg_10``.

    Args:
        experiment_name: made if it is not there.
        run_name: None lets MLflow invent one.
        tracking_uri: a server or database; None is MLflow's own setting.
        tags: of the run.
        run_id: go on with a run that is there already.

    Attributes:
        run_id: of this run, in the store.
        client: the library's own client, for everything that this adapter leaves out.

    Raises:
        ImportError: naming the extra, when ``mlflow`` is not installed.
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
        self.client: Any = require("mlflow.tracking", "MLflowLogger", "mlflow").MlflowClient(tracking_uri)
        self.run_id: str = run_id or self._new_run(experiment_name, run_name, tags)
        self._steps = Steps()
        self._finished = False

    def _new_run(self, experiment_name: str, run_name: str | None, tags: dict[str, Any] | None) -> str:
        known = self.client.get_experiment_by_name(experiment_name)
        experiment = self.client.create_experiment(experiment_name) if known is None else known.experiment_id
        return self.client.create_run(experiment, run_name=run_name, tags=tags).info.run_id

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        now, here = int(time.time() * 1000), self._steps.at(step)
        own = [self._entities.Metric(_allowed(name), value, now, here) for name, value in numbers(metrics).items()]
        self.client.log_batch(self.run_id, metrics=own)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        known = self.client.get_run(self.run_id).data.params  # a run that goes on says the same again; a changed value is MLflow's error
        texts = {_allowed(name): str(plain(value)) for name, value in params.items()}
        own = [self._entities.Param(name, text) for name, text in texts.items() if known.get(name) != text]
        for start in range(0, len(own), BATCH):
            self.client.log_batch(self.run_id, params=own[start : start + BATCH])

    def finish(self) -> None:
        if not self._finished:
            self._finished = True
            self.client.set_terminated(self.run_id)


def _allowed(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^\w./ :-]", "_", name)
