"""Weights & Biases."""

from collections.abc import Mapping
from typing import Any

import wandb

import hyperframe as hf
from hyperframe_loggers.figures import flat


class WeightsAndBiases(hf.Reporter):
    """Logs a training as a run of Weights & Biases; its client reads the environment for all else.

    Args:
        run: what is trained.
    """

    def __init__(self, run: hf.Run) -> None:
        # Its files lie in the run folder; the project is the one in the environment.
        self._logged = wandb.init(name=run.folder.name, dir=run.folder, config=run.config.plain(), job_type="train")

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the means of the steps."""
        self._logged.log(flat(metrics, "train/"), step=step)

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Log the results of a validation, without the declarations of its metrics."""
        figures = {name: value for name, value in results.items() if name != "metrics"}
        self._logged.log(flat(figures, "validation/"), step=step)

    def paused(self, run: hf.Run, reason: str) -> None:
        """End the entry, and note why."""
        self._logged.summary["paused"] = reason
        self._logged.finish()

    def finished(self, run: hf.Run) -> None:
        """End the entry."""
        self._logged.finish()

    def failed(self, run: hf.Run, reason: str) -> None:
        """End the entry as one that failed."""
        self._logged.summary["failed"] = reason
        self._logged.finish(exit_code=1)


def make(run: hf.Run) -> hf.Reporter:
    """Make the logger of a run."""
    return WeightsAndBiases(run)
