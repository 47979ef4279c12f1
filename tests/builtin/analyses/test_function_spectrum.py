"""The spectrum of functions: its numbers, and the analysis."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.function_spectrum.spectrum import Spectrum
from hyperframe.errors import NotApplicableError

FEW = settings(max_examples=25)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum_of(rows, parts=1):
    spectrum = Spectrum(len(rows))
    for part in rows.chunk(parts, 1):
        spectrum.add(part)
    return spectrum


@FEW
@given(st.integers(2, 8), st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_the_spectrum_is_that_of_singular_values(networks, entries, parts, seed):
    rows = random(networks, entries, seed=seed)
    values = torch.linalg.svdvals(rows - rows.mean(0)) ** 2
    found = spectrum_of(rows, parts)
    assert found.participation_ratio() == pytest.approx(float(values.sum() ** 2 / (values**2).sum()))
    shares = found.shares()[: len(values)]
    torch.testing.assert_close(shares, (values / values.sum())[: len(shares)], atol=1e-9, rtol=1e-6)


@FEW
@given(st.integers(2, 6), st.integers(1, 4))
def test_copies_of_functions_count_as_one(functions, copies):
    """Equally many copies of orthogonal functions: as many directions as functions, less the mean's."""
    rows = torch.eye(functions, 9, dtype=torch.float64).repeat(copies, 1)
    assert spectrum_of(rows).participation_ratio() == pytest.approx(functions - 1)


@FEW
@given(st.integers(0, 99), st.sampled_from([0.25, 2.0, 1024.0]))
def test_units_and_the_order_of_networks_do_not_matter(seed, factor):
    rows = random(6, 9, seed=seed)
    first, other = spectrum_of(rows), spectrum_of(factor * rows.flip(0))
    assert other.participation_ratio() == pytest.approx(first.participation_ratio(), rel=1e-9)
    assert other.share_along_mean() == pytest.approx(first.share_along_mean(), rel=1e-6)


@FEW
@given(st.integers(0, 99))
def test_differences_in_confidence_lie_along_the_mean(seed):
    function, size = random(1, 20, seed=seed), torch.linspace(0.5, 2, 7, dtype=torch.float64)[:, None]
    assert spectrum_of(size * function).share_along_mean() == pytest.approx(1)
    across = random(7, 20, seed=seed + 1)
    across -= across @ function.T @ function / function.square().sum()
    mean = spectrum_of(3 * function + across - across.mean(0))
    assert mean.share_along_mean() == pytest.approx(0, abs=1e-9)


def test_networks_that_are_all_alike_have_no_spectrum():
    spectrum = spectrum_of(torch.ones(3, 4))
    assert spectrum.participation_ratio() == 0
    assert spectrum.share_along_mean() == 0
    assert spectrum.shares().isfinite().all()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {**PERCEPTRON, "trainer.steps": 20, "trainer.rate": 1e-2}
    return hf.train("digits", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_results_are_those_of_the_drawn_networks(run):
    found = analyse(run, "function_spectrum", make_registry(), {"networks": 5, "examples": 10_000})
    networks, data = run.sample(5, run.config.evaluation.seed), run.data("test")
    logits = networks.gathered(data.x, lambda outputs: outputs.double())
    centred = (logits - logits.mean(-1, keepdim=True)).flatten(1)
    assert found["functions"]["participation_ratio"] == pytest.approx(spectrum_of(centred).participation_ratio())
    assert found["share_along_mean"] == pytest.approx(spectrum_of(centred).share_along_mean())
    own = logits.log_softmax(-1).gather(-1, data.y.expand(5, -1)[..., None])[..., 0]
    assert found["nll"]["members"] == pytest.approx(-float(own.mean()))
    assert found["nll"]["ensemble"] == pytest.approx(-float(own.exp().mean(0).log().mean()))
    assert found["nll"]["jensen_gap"] == pytest.approx(found["nll"]["members"] - found["nll"]["ensemble"])
    assert found["nll"]["jensen_gap"] > 0
    assert (found["networks"], found["examples"]) == (5, len(data))


def test_networks_that_have_run_away_are_counted(tmp_path):
    """The weights of one base point of four are made greater until its logits are far longer than the others'."""
    settings = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
    settings |= {"generator": {"name": "direct", "networks": 4}, "trainer.networks": 4, "trainer.steps": 20}
    settings |= {"evaluation.networks": 4, "evaluation.test_networks": 4, "diversity": "none", "trainer.rate": 1e-2}
    run = hf.train("digits", settings, out=tmp_path / "run")
    found = analyse(run, "function_spectrum", make_registry(), {"networks": 4})
    assert found["run_away"] == 0
    assert "run away" not in found["conclusions"][0]["sentence"]
    assert sorted(found["logit_lengths"])[1] == 1
    networks, data = run.sample(4, run.config.evaluation.seed), run.data("test")
    lengths = networks.gathered(data.x, lambda outputs: outputs - outputs.mean(-1, keepdim=True)).flatten(1).norm(dim=1)
    torch.testing.assert_close(torch.tensor(found["logit_lengths"]), lengths / lengths.median(), rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        for parameter in run.experiment.generator.parameters():
            parameter[2] *= 8
    found = analyse(run, "function_spectrum", make_registry(), {"networks": 4})
    assert found["run_away"] == 1
    assert "1 of them has run away, with logits up to " in found["conclusions"][0]["sentence"]
    assert found["conclusions"][0]["sentence"].endswith("docs/choosing.md says what holds them.")


def test_it_needs_classes_and_three_networks(tmp_path, run):
    toy = {"trainer.steps": 1, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    with pytest.raises(NotApplicableError, match="one class for each example"):
        analyse(hf.train("toy", toy, out=tmp_path / "toy"), "function_spectrum", make_registry())
    held = {key: value for key, value in PERCEPTRON.items() if not key.startswith("generator")}
    held |= {"generator": {"name": "direct", "networks": 2}, "trainer.networks": 2, "trainer.steps": 1}
    held |= {"evaluation.networks": 2, "evaluation.test_networks": 2, "diversity": "none"}
    with pytest.raises(NotApplicableError, match="3"):
        analyse(hf.train("digits", held, out=tmp_path / "held"), "function_spectrum", make_registry())
