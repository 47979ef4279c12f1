"""The plane through three z: its coordinates, and the analysis."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.plane.geometry import Plane, inside_triangle
from hyperframe.errors import HyperframeWarning, NotApplicableError

FEW = settings(max_examples=20)
SETTINGS = {**PERCEPTRON, "trainer.steps": 3}
CHEAP = {"points": 4, "examples": 30}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", SETTINGS, out=tmp_path_factory.mktemp("runs") / "run")


def run_analysis(run, **options):
    return analyse(run, "plane", make_registry(), {**CHEAP, **options})


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@FEW
@given(st.integers(0, 99), st.integers(2, 6))
def test_the_plane_goes_through_the_three_points_and_keeps_distances(seed, entries):
    points = random(3, entries, seed=seed)
    plane = Plane(points)
    torch.testing.assert_close(plane.at(plane.places), points)
    torch.testing.assert_close(torch.cdist(plane.places, plane.places), torch.cdist(points, points))
    assert plane.places[0].tolist() == [0, 0]
    assert abs(float(plane.places[1, 1])) < 1e-9


def test_points_on_a_line_make_no_plane_and_no_nan():
    for rows in ([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [[1.0, 1.0]] * 3, [[3.0], [1.0], [2.0]]):
        points = torch.tensor(rows)
        plane = Plane(points)
        torch.testing.assert_close(plane.at(plane.places), points)


@FEW
@given(st.integers(0, 99))
def test_weighted_means_of_the_corners_are_inside(seed):
    corners = random(3, 2, seed=seed)
    parts = random(5, 3, seed=seed + 100).softmax(1)
    assert inside_triangle(parts @ corners, corners).all()
    assert inside_triangle(corners, corners).all()
    beyond = corners[0] + 1.5 * (corners[1:].mean(0) - corners[0])
    assert not inside_triangle(beyond, corners)


@pytest.mark.slow
def test_the_square_reaches_from_corner_to_corner(run):
    found = run_analysis(run, margin=0.0)
    assert len(found["score"]) == len(found["y"]) == 4
    assert len(found["score"][0]) == len(found["x"]) == 4
    assert found["x"][0] == min(place[0] for place in found["places"])
    assert found["y"][-1] == max(place[1] for place in found["places"])
    assert found["inside"]["min"] <= found["inside"]["mean"] <= found["inside"]["max"]
    assert found["highlights"]
    folder = run.folder / "analyses" / "plane"
    assert sorted(path.name for path in folder.iterdir()) == ["plane.json", "plane.png", "results.json"]


@pytest.mark.slow
def test_it_goes_on_after_an_interruption(run, monkeypatch):
    import hyperframe.builtin.analyses.plane as module

    whole, calls = run_analysis(run, points=3), []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return mean_scores(*arguments)

    mean_scores = module.mean_scores
    monkeypatch.setattr(module, "mean_scores", interrupted)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        run_analysis(run, points=3)
    assert run_analysis(run, points=3) == whole
    assert len(calls) == 5  # four parts, one of them twice


@pytest.mark.slow
def test_a_line_of_z_and_a_task_without_accuracy(tmp_path):
    run = hf.train(
        "toy", {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.analyses": []}, out=tmp_path / "run"
    )
    found = run_analysis(run)
    assert found["places"][2][1] == 0  # z has one entry
    assert all(value == value for row in found["loss"] for value in row)


def test_it_does_not_apply_without_a_vector_z(tmp_path):
    settings = {key: value for key, value in SETTINGS.items() if key != "generator.hidden"}
    settings |= {"generator": "direct", "generator.networks": 4, "diversity": "none"}
    run = hf.train("digits", settings, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'plane' does not apply"):
        run_analysis(run)
