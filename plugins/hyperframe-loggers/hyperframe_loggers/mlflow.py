"""MLflow."""

import os
import time
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

import hyperframe as hf
from hyperframe_loggers.figures import flat, texts

EXPERIMENT = "hyperframe"

PARAMS_AT_ONCE = 100
"""As many as a call may bring."""

LONGEST = 500
"""Characters of a parameter's value that every server takes."""


class MLflow(hf.Reporter):
    """Logs a training as a run of MLflow, at the server or folder that its own variables name.

    Args:
        run: what is trained.
    """

    def __init__(self, run: hf.Run) -> None:
        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        self._id = self._client.create_run(experiment, run_name=run.folder.name).info.run_id
        params = [Param(key, value[:LONGEST]) for key, value in texts(run.config.plain()).items()]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(self._id, params=params[first : first + PARAMS_AT_ONCE])

    def _log(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())  # milliseconds
        self._client.log_batch(self._id, metrics=[Metric(key, value, now, step) for key, value in figures.items()])

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the means of the steps."""
        self._log(step, flat(metrics, "train/"))

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Log the results of a validation, without the declarations of its metrics."""
        self._log(step, flat({name: value for name, value in results.items() if name != "metrics"}, "validation/"))

    def paused(self, run: hf.Run, reason: str) -> None:
        """End the run, and note why."""
        self._end("KILLED", reason)

    def finished(self, run: hf.Run) -> None:
        """End the run."""
        self._end("FINISHED")

    def failed(self, run: hf.Run, reason: str) -> None:
        """End the run as one that failed."""
        self._end("FAILED", reason)

    def _end(self, status: str, reason: str | None = None) -> None:
        if reason is not None:
            self._client.log_batch(self._id, tags=[RunTag("reason", reason[:LONGEST])])
        self._client.set_terminated(self._id, status)


def make(run: hf.Run) -> hf.Reporter:
    """Make the logger of a run."""
    return MLflow(run)
