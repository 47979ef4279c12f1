"""Corruptions of images: their properties, and the analysis."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.builtin.analyses.corruptions.transforms import CORRUPTIONS, corrupt
from hyperframe.errors import HyperframeWarning, NotApplicableError
from hyperframe.tasks.calibration import results_of

SMALL = {"networks": 4, "images": 360, "singles": 2}
LIMITS = (-1.0, 3.0)


def images(seed, *shape):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=rng, dtype=torch.float64) * 4 - 1


def worse(x, name, strength, seed=0):
    return corrupt(x, name, strength, LIMITS, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), strength=st.integers(0, 5), channels=st.integers(1, 3), side=st.integers(2, 9))
def test_images_stay_images_within_the_range(name, seed, strength, channels, side):
    x = images(seed, 3, channels, side, side + 1)
    found = worse(x, name, strength, seed)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert float(found.min()) >= LIMITS[0] - 1e-9
    assert float(found.max()) <= LIMITS[1] + 1e-9
    assert torch.equal(found, worse(x, name, strength, seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_stronger_changes_more(name):
    x = torch.zeros(8, 1, 20, 20, dtype=torch.float64)
    x[:, :, 8:11, 2:18] = 2.0  # a bar in the middle
    apart = [float((worse(x, name, strength) - x).square().mean()) for strength in range(6)]
    assert apart == sorted(apart)
    assert (apart[0], apart[1] > 0) == (0, True)


def test_contrast_in_closed_form():
    x = images(0, 5, 3, 4, 4)
    found = worse(x, "contrast", 5)
    torch.testing.assert_close(found.mean((1, 2, 3)), x.mean((1, 2, 3)))
    torch.testing.assert_close(found.std((1, 2, 3)), 0.1 * x.std((1, 2, 3)))


def test_noise_has_its_deviation():
    x = torch.ones(40, 1, 30, 30, dtype=torch.float64)
    assert float((worse(x, "noise", 1) - x).std()) == pytest.approx(0.08 * 4, rel=0.02)


def test_rotation_goes_both_ways_and_brings_in_the_least_number():
    x = torch.full((20, 1, 9, 9), 2.0, dtype=torch.float64)
    found = worse(x, "rotation", 4)
    assert (found[:, 0, 4, 4] == 2).all()
    assert float(found.min()) == LIMITS[0]
    bar = torch.full((20, 1, 9, 9), LIMITS[0], dtype=torch.float64)
    bar[:, :, 4] = 1.0
    assert len({tuple(image.flatten().tolist()) for image in worse(bar, "rotation", 3)}) == 2


def test_a_constant_image_stays_as_it_is():
    x = torch.ones(2, 1, 6, 6, dtype=torch.float64)
    for name in ("blur", "contrast"):
        torch.testing.assert_close(worse(x, name, 5), x)


@pytest.fixture(scope="module")
def found(run, registry):
    return analyse(run, "corruptions", registry, SMALL)


@pytest.mark.slow
def test_the_analysis(run, found):
    networks, data = run.sample(4), run.data("test")
    expected = results_of(networks.mean(data.x), data.y)
    singles = [results_of(each, data.y) for each in networks.predict(data.x)[:2]]
    for results in found["corruptions"].values():
        for key in ("accuracy", "nll", "brier", "ece"):
            assert results["ensemble"][key][0] == pytest.approx(expected[key], rel=1e-3, abs=1e-4)
            mean = sum(each[key] for each in singles) / 2
            assert results["single"][key][0] == pytest.approx(mean, rel=1e-3, abs=1e-4)
            assert len(results["single"][key]) == 6
    assert found["mean"]["ensemble"]["accuracy"][3] == pytest.approx(
        sum(results["ensemble"]["accuracy"][3] for results in found["corruptions"].values()) / 4
    )
    assert (run.folder / "analyses" / "corruptions" / "corruptions.png").is_file()
    assert f"{100 * found['mean']['ensemble']['accuracy'][3]:.1f} %" in found["pictures"][0]["caption"]


def test_it_goes_on_where_it_was(run, registry, found, monkeypatch):
    made = []

    def interrupted(x, name, *others):
        made.append(name)
        if len(made) == 8:
            raise KeyboardInterrupt
        return corrupt(x, name, *others)

    monkeypatch.setattr("hyperframe.builtin.analyses.corruptions.corrupt", interrupted)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        analyse(run, "corruptions", registry, SMALL)
    assert analyse(run, "corruptions", registry, SMALL) == found
    assert len(made) == 21  # 20, one of them twice


def test_what_is_no_image_is_refused(registry, tmp_path):
    x, y = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    own = {**tiny.PERCEPTRON, "target.input_shape": [3], "target.outputs": 3, "trainer.steps": 1}
    run = hf.train(data=(x, y), overrides=own, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'corruptions' does not apply: it is about images"):
        analyse(run, "corruptions", registry)
