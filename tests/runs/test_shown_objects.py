"""Texts that `print` shows of runs, networks and traced modules."""

import torch
from torch import nn

import hyperframe as hf


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)
        self.idle = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.b(torch.sin(self.a(x)))


def test_a_run_and_its_networks_say_what_they_are(run):
    config = run.config
    for part in (str(run.folder), config.target.name, config.task.name, f"step {run.step} of {config.trainer.steps}"):
        assert part in repr(run)
    spec = run.experiment.target.spec
    shown = str(run.sample(3))
    assert shown.startswith(f"<Networks: 3 of target {spec.name}, {spec.num_weights:,} weights each; ")
    assert "object at" not in repr(run) + shown
    assert len(shown) < 300


def test_a_traced_module_shows_layers_and_what_has_no_symmetries():
    traced = hf.trace(Own(), (4,), "own")
    lines = str(traced).splitlines()
    assert lines[0] == "Traced target own: 51 weights, inputs [4], 3 outputs"
    assert [line for line in lines if line.startswith("  layer ")] == [
        "  layer a: 6 filters of 5",
        "  layer b: 3 filters of 7",
    ]
    assert "  exchangeable units, in groups of: 6" in lines
    assert len([line for line in lines if line.startswith("  frozen: ")]) == len(traced.frozen)
    assert lines[-1] == "  unused: idle"
