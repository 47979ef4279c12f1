"""The generator `modes`: base points, offsets and moments around them, and rates of their own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.generators.modes import Modes, Options
from hyperframe.config.schedule import rate_at
from hyperframe.config.sections import TrainerOptions
from hyperframe.errors import ConfigError, NotApplicableError

FEW = settings(max_examples=15)
SMALL = {"extractor": (6,), "weight_generators": (5,), "latent": 3, "code": 2}
TARGET = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
SETTINGS = {
    **TARGET,
    "generator": {"name": "modes", "modes": 3, "extractor": [6], "weight_generators": [5], "latent": 3},
    "trainer.networks": 6,
    "trainer.steps": 4,
}
MOMENTS = {
    **TARGET,
    "generator": {"name": "modes", "modes": 2, "around": "moments", "deviations": 3, "tail": 0.5},
    "trainer.networks": 4,
    "trainer.steps": 12,
    "trainer.checkpoint_every": 4,
    "trainer.schedule": "one_cycle_tail",
    "trainer.rate": 1e-2,
    "diversity": "none",
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def spec():
    layers = torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    return hf.trace(torch.nn.Sequential(*layers), input_shape=(3,)).spec


def make(spec, **options):
    torch.manual_seed(7)
    return Modes(Options(**{**SMALL, **options}), spec)


def moments(spec, modes=2, **options):
    return make(spec, modes=modes, around="moments", **options).double()


@FEW
@given(st.integers(1, 5), st.integers(1, 17), st.integers(0, 99))
def test_modes_are_drawn_evenly(spec, modes, count, seed):
    drawn = make(spec, modes=modes).latent(count, rng(seed))[:, 0]
    times = torch.bincount(drawn.long(), minlength=modes)
    assert int(times.max() - times.min()) <= 1
    assert sorted(drawn[: count - count % modes].tolist()) == sorted([*range(modes)] * (count // modes))


def test_networks_of_a_mode_lie_around_its_base_point(spec):
    generator = make(spec, modes=3).eval().requires_grad_(False)
    weights = generator(generator.latent(300, rng()))
    for number, (name, theta) in enumerate(weights.items()):
        by_mode = theta.view(100, 3, *theta.shape[1:])
        base = generator.points[number]
        within = (by_mode - base).square().mean(0).sqrt()
        assert (within > 0).all(), name
        assert float(within.mean()) < 0.6 * float(base.std()), name


@pytest.mark.parametrize("around", ["hypernetwork", "moments"])
def test_parameter_groups_are_all_parameters_once(spec, around):
    generator = make(spec, around=around)
    grouped = [id(parameter) for _, parameters in generator.parameter_groups() for parameter in parameters]
    assert sorted(grouped) == sorted(id(parameter) for parameter in generator.parameters())


def test_each_group_moves_at_its_own_rate(tmp_path):
    config = {**SETTINGS, "trainer.steps": 1, "trainer.schedule": "constant", "trainer.rate": 1e-3}
    config["trainer.gradient_clip"] = None
    moved = {}

    class Before(hf.Reporter):
        def started(self, run):
            moved.update({name: value.clone() for name, value in run.experiment.generator.named_parameters()})

    run = hf.train("digits", config, out=tmp_path / "run", reporter=Before())
    for name, value in run.experiment.generator.named_parameters():
        rate = (
            1e-3 if name.startswith("points") else 2e-4
        )  # Adam's first step is as long as the rate, whatever the slope
        assert float((value - moved[name]).detach().abs().max()) == pytest.approx(rate, rel=1e-2), name


@FEW
@given(st.integers(0, 99), st.integers(2, 9), st.sampled_from([0.25, 0.5, 0.9]))
def test_moments_are_those_of_the_tail(spec, seed, deviations, tail):
    steps, generator, noise = 12, moments(spec, deviations=deviations, tail=tail), rng(seed)
    path = []
    for step in range(steps):
        with torch.no_grad():
            for point in generator.points:
                point.copy_(torch.randn(point.shape, generator=noise, dtype=torch.float64))
        generator.after_step(step, steps)
        path.append(torch.cat([point.detach().flatten(1) for point in generator.points], 1))
    seen = torch.stack(path[math.ceil((1 - tail) * steps) :])
    torch.testing.assert_close(generator.around.mean, seen.mean(0))
    torch.testing.assert_close(generator.around.variance, seen.var(0, correction=0))
    for snapshot in generator.around.snapshots:
        assert any(torch.equal(snapshot, one) for one in seen)
    assert torch.equal(generator.around.snapshots[-1], seen[-1])
    kept = {tuple(snapshot.flatten().tolist()) for snapshot in generator.around.snapshots}
    assert len(kept) == min(deviations, len(seen))


def test_a_draw_of_moments_is_the_papers(spec):
    generator = moments(spec, deviations=4, tail=0.5).eval()
    for step in range(10):
        with torch.no_grad():
            for point in generator.points:
                point.add_(torch.randn(point.shape, generator=rng(step), dtype=torch.float64))
        generator.after_step(step, 10)
    z = generator.latent(6, rng())
    found = torch.cat([theta.flatten(1) for theta in generator(z).values()], 1)
    around = generator.around
    for row, (mode, noise) in zip(found, ((int(one[0]), one[1:]) for one in z), strict=True):
        centre = around.mean[mode]
        diagonal = (around.variance[mode] + around.first_std**2).sqrt() * noise[4:]
        low_rank = noise[:4] @ (around.snapshots[:, mode] - centre) / math.sqrt(3)
        torch.testing.assert_close(row, centre + (diagonal + low_rank) / math.sqrt(2))


def test_a_base_point_trains_alone_and_is_drawn_around_from_the_start(spec):
    generator = moments(spec).requires_grad_(False)
    z = generator.latent(4, rng())
    trained, drawn = generator.train()(z), generator.eval()(z)
    for number, (name, theta) in enumerate(trained.items()):
        assert torch.equal(theta, generator.points[number][z[:, 0].long()])
        away = (drawn[name] - theta).abs()
        assert 0 < float(away.max()) < 1e-2 * float(theta.abs().max())


@pytest.mark.slow
def test_a_killed_run_of_moments_goes_on_bit_for_bit(tmp_path):
    whole = hf.train("digits", MOMENTS, out=tmp_path / "whole")
    hf.train("digits", {**MOMENTS, "trainer.stop_after": 9}, out=tmp_path / "cut")  # in the midst of the tail
    resumed = hf.resume(tmp_path / "cut")
    for name, value in whole.experiment.generator.state_dict().items():
        assert torch.equal(value, resumed.experiment.generator.state_dict()[name]), name
    assert float(whole.experiment.generator.around.begun) == 1


def test_more_modes_than_networks_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.networks is 6, but generator 'modes' needs at least 7 networks"):
        hf.train("digits", {**SETTINGS, "generator.modes": 7}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_rate_has_a_cycle_and_a_tail():
    options = TrainerOptions(steps=100, rate=1.0, schedule="one_cycle_tail", tail=0.25, tail_rate=0.125)
    cycle = TrainerOptions(steps=75, rate=1.0, schedule="one_cycle")
    rates = [rate_at(step, options) for step in range(100)]
    assert rates[:75] == [rate_at(step, cycle) for step in range(75)]
    assert rates[75:] == [0.125] * 25


def test_the_trainer_hands_over_how_many_steps_there_are(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Modes, "after_step", lambda self, step, steps: seen.append((step, steps)))
    hf.train("digits", {**SETTINGS, "trainer.steps": 2}, out=tmp_path / "run")
    assert seen == [(0, 2), (1, 2)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and its first two networks as files."""
    folder = tmp_path_factory.mktemp("given")
    run = hf.train(
        "digits", {**TARGET, "generator": "mlp", "generator.hidden": [4], "trainer.steps": 1}, out=folder / "run"
    )
    run.write_state_dicts(folder / "nets", 2, seed=0)
    return run, sorted((folder / "nets").iterdir())


@pytest.mark.parametrize("around", ["hypernetwork", "moments"])
def test_base_points_begin_at_the_networks_that_are_given(tmp_path, trained, around):
    other, files = trained
    config = {**SETTINGS, "generator.from": [str(file) for file in files], "generator.around": around}
    found = {}

    class Before(hf.Reporter):
        def started(self, run):
            found.update({name: value.clone() for name, value in run.experiment.generator.state_dict().items()})

    settings = {**config, "diversity": "none", "trainer.steps": 2, "trainer.stop_after": 1}
    run = hf.train("digits", settings, out=tmp_path / "run", reporter=Before())
    for number, theta in enumerate(other.sample(2, seed=0).weights.values()):
        assert torch.equal(found[f"points.{number}"][:2], theta)
        assert not torch.equal(found[f"points.{number}"][2], theta[0])
    for file in files:
        file.rename(file.with_suffix(".moved"))  # once it has begun a run needs them no more
    try:
        assert len(hf.load(run.folder).sample(3)) == 3
        assert hf.resume(run.folder).finished
    finally:
        for file in files:
            file.with_suffix(".moved").rename(file)


def test_files_that_hold_no_network_of_the_target_are_refused(tmp_path, trained):
    files = [str(file) for file in trained[1]]
    for change, message in (
        (
            {"generator.from": files, "target.hidden": [7]},
            r"generator\.from: .* holds no network of target 'mlp': '.*' is",
        ),
        ({"generator.from": files, "generator.modes": 1}, r"2 files are more than the 1 base point of"),
        ({"generator.from": [str(tmp_path / "absent")]}, "absent"),
    ):
        with pytest.raises(hf.HyperframeError, match=message):
            hf.train("digits", {**SETTINGS, **change}, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("analysis", ["plane", "paths"])
def test_analyses_that_move_through_z_do_not_apply(tmp_path, analysis):
    """Between the numbers of two modes there is none."""
    run = hf.train("digits", {**SETTINGS, "trainer.steps": 1}, out=tmp_path / "run")
    if analysis == "plane":
        with pytest.raises(NotApplicableError, match="moves through z"):
            analyse(run, analysis, make_registry())
    else:
        found = analyse(run, analysis, make_registry(), {"pairs": 1, "points": 3, "examples": 20, "bezier_pairs": 0})
        assert "interpolated" not in found["paths"]
