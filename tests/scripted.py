"""Validations by a script, for tests of what follows from them."""

import json

from hyperframe.errors import DivergedError
from hyperframe.training.loop import Training


def scripted(monkeypatch, accuracies):
    """Let the validation after step n find the nth of these accuracies, None: networks that diverged."""
    measure = Training.validate

    def validate(self):
        found, accuracy = measure(self), accuracies[self.trainer.step_count - 1]
        if accuracy is None:
            raise DivergedError("on purpose")
        return {**found, "accuracy": {**found["accuracy"], "mean": accuracy}, "nll": 1.0}

    monkeypatch.setattr(Training, "validate", validate)


def validations_of(run):
    """The accuracies that a run's metrics have of its validations."""
    lines = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    return [line["validation"]["accuracy"]["mean"] for line in lines if "validation" in line]
