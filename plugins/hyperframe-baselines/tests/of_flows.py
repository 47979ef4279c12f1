"""Helpers of tests of flows: parameters far from where they start, and a short training that is looked at."""

import json

import pytest
import torch

import hyperframe as hf


def randomised(module, seed, spread):
    """In float64, with parameters far from where they start."""
    rng = torch.Generator().manual_seed(seed)
    module = module.double().requires_grad_(False)
    for parameter in module.parameters():
        parameter.copy_(spread * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return module


def train_and_check(generator, folder, left):
    """Train some steps: the loss is λ · (accuracy loss) + penalty and falls to a part `left`; the run can be read."""
    settings = {
        "generator": generator,
        "diversity": "none",
        "objective.lambda": 1197,
        "trainer.steps": 40,
        "trainer.log_every": 20,
        "trainer.device": "cpu",
        "evaluation.networks": 4,
    }
    run = hf.train("digits", settings, out=folder / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "penalty" in line]
    for line in steps:
        assert line["loss"] == pytest.approx(1197 * line["accuracy_loss"] + line["penalty"], rel=1e-4)
    assert steps[-1]["loss"] < left * steps[0]["loss"]
    few, many = hf.load(run.folder, device="cpu").sample(3).weights, run.sample(3).weights
    assert all(torch.equal(few[name], many[name]) for name in few)
    hf.analysis.check_latent(run, "paths")
