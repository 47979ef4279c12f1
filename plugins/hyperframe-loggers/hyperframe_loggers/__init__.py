"""Trainings logged with Weights & Biases or MLflow, where their own environment variables ask for it."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import hyperframe as hf

LOGGERS = {"WANDB_PROJECT": "hyperframe_loggers.weights_and_biases", "MLFLOW_TRACKING_URI": "hyperframe_loggers.mlflow"}
"""The variable that asks for a logger, and the module whose `make` makes it of a run."""


@hf.hookimpl
def hyperframe_reporters(run: hf.Run) -> hf.Reporter | None:
    """Return those that are asked for, as one."""
    asked = [import_module(module).make(run) for variable, module in LOGGERS.items() if os.environ.get(variable)]
    return Together(asked) if asked else None


class Together(hf.Reporter):
    """Several reporters as one.

    Args:
        parts: those that are told.
    """

    def __init__(self, parts: list[hf.Reporter]) -> None:
        self.parts = parts

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell all of them."""
        for part in self.parts:
            part.logged(step, metrics)

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Tell all of them."""
        for part in self.parts:
            part.validated(step, results)

    def paused(self, run: hf.Run, reason: str) -> None:
        """Tell all of them."""
        for part in self.parts:
            part.paused(run, reason)

    def finished(self, run: hf.Run) -> None:
        """Tell all of them."""
        for part in self.parts:
            part.finished(run)

    def failed(self, run: hf.Run, reason: str) -> None:
        """Tell all of them."""
        for part in self.parts:
            part.failed(run, reason)
