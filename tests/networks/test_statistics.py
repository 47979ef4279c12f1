"""Statistics that drawn networks are given: plain means over equal parts of training images."""

from unittest import mock

import pytest
import torch
from modules import Residual
from tiny import GENERATED
from torch import nn

import hyperframe as hf
from hyperframe.networks.target import Target


def affine_then_norm():
    """A dense layer, whose outputs a BatchNorm sees, and its target in float64."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    first = [
        hf.targets.kernel("0.weight", "o i"),
        hf.targets.bias("0.bias"),
        hf.targets.scale("1.weight"),
        hf.targets.shift("1.bias"),
    ]
    last = [hf.targets.kernel("3.weight", "o i"), hf.targets.bias("3.bias")]
    spec = hf.targets.TargetSpec(
        name="normed",
        input_shape=(3,),
        num_outputs=2,
        logits="last",
        units=[hf.targets.UnitSpec(name="hidden", size=4, ops=["relu"])],
        layers=[
            hf.targets.LayerSpec(name="first", filters=4, writes=["hidden"], norm="batch", params=first),
            hf.targets.LayerSpec(name="last", filters=2, reads=["hidden"], params=last),
        ],
    )
    return Target(module, spec).to("cpu", torch.float64)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_every_part_counts_the_same(parts):
    target, rng = affine_then_norm(), torch.Generator().manual_seed(0)
    weights = {
        layer.name: torch.randn(3, layer.filters, layer.filter_size, generator=rng, dtype=torch.float64)
        for layer in target.spec.layers
    }
    # Each part is far from the others, so that any other weights would show.
    images = [10.0**number + torch.randn(7, 3, generator=rng, dtype=torch.float64) for number in range(parts)]
    found = target.estimate_statistics(weights, images)
    outputs = [x @ weights["first"][:, :, :3].mT + weights["first"][:, None, :, 3] for x in images]
    mean = torch.stack([values.mean(1) for values in outputs]).mean(0)
    variance = torch.stack([values.var(1) for values in outputs]).mean(0)
    torch.testing.assert_close(found["1.running_mean"], mean)
    torch.testing.assert_close(found["1.running_var"], variance)


def test_a_norm_keeps_its_momentum():
    target = affine_then_norm()
    weights = {layer.name: torch.ones(1, layer.filters, layer.filter_size).double() for layer in target.spec.layers}
    target.estimate_statistics(weights, [torch.ones(2, 3).double() * torch.tensor([[1.0], [2.0]])] * 3)
    assert target._runner.module_here(False)[1].momentum == 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "sizes"), [(40, {40}), (251, {125, 126}), (10**6, {239, 240})])
def test_parts_are_of_one_size_and_of_training_images(tmp_path, examples, sizes):
    """As many different ones as were asked for, or all there are; another seed takes others."""
    settings = {**GENERATED, "trainer.steps": 1, "trainer.batch_size": 2, "evaluation.statistics": examples}
    run = hf.train("digits", settings, module=Residual(2), out=tmp_path / "run")
    train, target = run.data("train").x, run.experiment.target
    seen = []
    with mock.patch.object(target, "estimate_statistics", lambda weights, inputs: seen.append(list(inputs)) or {}):
        run.sample(2)
        run.sample(2, seed=7)
    known = {image.numpy().tobytes() for image in train}
    first, other = ([image.numpy().tobytes() for part in parts for image in part] for parts in seen)
    assert {len(part) for part in seen[0]} == sizes
    assert len(first) == min(examples, len(train))
    assert set(first) <= known
    assert len(set(first)) >= 0.99 * len(first)  # a few of the images are there twice
    assert set(first) != set(other) or len(first) == len(train)
