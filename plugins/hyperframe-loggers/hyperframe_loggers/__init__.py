"""Trainings logged with Weights & Biases or MLflow, where their own environment variables ask for it."""

import os
from importlib import import_module

import hyperframe as hf

LOGGERS = {"WANDB_PROJECT": "hyperframe_loggers.weights_and_biases", "MLFLOW_TRACKING_URI": "hyperframe_loggers.mlflow"}
"""The variable that asks for a logger, and the module whose `make` makes it of a run."""


@hf.hookimpl
def hyperframe_reporters(run: hf.Run) -> list[hf.Reporter]:
    """Return those that are asked for."""
    return [import_module(module).make(run) for variable, module in LOGGERS.items() if os.environ.get(variable)]
