"""Sets and intervals of drawn networks: what is calibrated, what is refused, and what the command prints."""

import json

import numpy as np
import pytest
import torch
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.errors import DataError, HyperframeWarning
from hyperframe.tasks.conformal import lac_scores, of_labels, rank, threshold_of


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """A short training on a table of two values in their own units."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype("float32")
    y = np.stack([100 + 30 * x[:, 0] + rng.normal(size=300), 5 * x[:, 1] * rng.normal(size=300)], 1)
    settings = {**PERCEPTRON, "trainer.steps": 30, "trainer.rate": 1e-2, "diversity": [], "task.validation": 0.3}
    return hf.train("digits", settings, data=(x, y), out=tmp_path_factory.mktemp("runs") / "values")


def test_sets_hold_classes_whose_score_is_not_above_the_threshold(learnt):
    nets, known, asked = learnt.sample(4), learnt.data("validation"), learnt.data("test")
    found = nets.conformal(known.x, known.y, alpha=0.2)
    scores = of_labels(lac_scores(nets.mean(known.x).double()), known.y)
    torch.testing.assert_close(found.threshold, threshold_of(scores, 0.2))
    sets = found.predict(asked.x)
    assert sets.dtype == torch.bool
    assert torch.equal(sets, lac_scores(nets.mean(asked.x).double()) <= found.threshold)
    assert (found.method, found.examples, found.alpha) == ("lac", len(known), 0.2)
    assert int(of_labels(found.predict(known.x), known.y).sum()) >= rank(len(known), 0.2)
    assert "object at" not in repr(found)


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_cover_as_promised(learnt, method):
    """Within four deviations of test and calibration examples."""
    nets, known, asked = learnt.sample(4), learnt.data("validation"), learnt.data("test")
    for alpha in (0.1, 0.3):
        covered = of_labels(nets.conformal(known.x, known.y, alpha, method=method).predict(asked.x), asked.y)
        deviation = (alpha * (1 - alpha) * (1 / len(known) + 1 / len(asked))) ** 0.5
        assert float(covered.double().mean()) == pytest.approx(1 - alpha, abs=4 * deviation)


def test_random_parts_follow_the_seed_and_differ_between_calibration_and_prediction(learnt):
    nets, known = learnt.sample(4), learnt.data("validation")
    one, same, other = (nets.conformal(known.x, known.y, 0.2, method="aps", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.predict(known.x), same.predict(known.x))
    assert one.threshold == same.threshold != other.threshold
    part = one.predict(known.x[:7])
    assert torch.equal(part, one.predict(known.x)[:7])
    # With the numbers of the calibration exactly k labels would be inside, for each seed.
    found = [nets.conformal(known.x, known.y, 0.2, method="aps", seed=seed).predict(known.x) for seed in range(4)]
    assert {int(of_labels(sets, known.y).sum()) for sets in found} != {rank(len(known), 0.2)}


def test_intervals_are_of_each_value_and_as_wide_as_networks_are_unsure(values):
    nets, known, asked = values.sample(6), values.data("validation"), values.data("test")
    found = nets.conformal(known.x.numpy(), known.y.numpy(), alpha=0.1)
    ends = found.predict(asked.x)
    assert ends.shape == (len(asked), 2, 2)
    said = nets.summary(asked.x)
    torch.testing.assert_close(ends.mean(-1), said["mean"].double())
    torch.testing.assert_close(ends[..., 1] - ends[..., 0], 2 * found.threshold * said["std"].double())
    ends = found.predict(known.x)
    inside = (ends[..., 0] <= known.y + 1e-9) & (known.y - 1e-9 <= ends[..., 1])
    assert (inside.sum(0) >= rank(len(known), 0.1)).all()
    assert (found.method, found.threshold.shape) == ("residual", (2,))


def test_one_network_has_intervals_of_one_width(values):
    net, known = values.sample(6)[:1], values.data("validation")
    ends = net.conformal(known.x, known.y, alpha=0.2).predict(known.x)
    widths = ends[..., 1] - ends[..., 0]
    torch.testing.assert_close(widths, widths[:1].expand_as(widths))
    residuals = (known.y.double() - net.mean(known.x).double()).abs()
    torch.testing.assert_close(widths[0], 2 * threshold_of(residuals, 0.2))


def test_a_deviation_of_the_task_is_preferred(tmp_path):
    run = hf.train("diabetes", {"trainer.steps": 2, "trainer.device": "cpu"}, out=tmp_path / "run")
    nets, known = run.sample(5), run.data("validation")
    found = nets.conformal(known.x, known.y, 0.2)
    ends = found.predict(known.x)
    wanted = 2 * found.threshold * nets.summary(known.x)["predictive_std"].double()
    torch.testing.assert_close(ends[..., 1] - ends[..., 0], wanted)


@pytest.mark.parametrize(("kind", "words"), [("learnt", "sets hold all classes"), ("values", "intervals have no ends")])
def test_too_few_examples_give_everything_and_say_so(request, kind, words):
    run = request.getfixturevalue(kind)
    nets, known = run.sample(3), run.data("validation")[:18]
    with pytest.warns(HyperframeWarning, match=f"18 calibration examples cannot give alpha=0.05.*{words}; 19 or"):
        found = nets.conformal(known.x, known.y, 0.05).predict(known.x)
    assert found.isinf().all() if kind == "values" else found.all()
    nets.conformal(known.x, known.y, 0.06)  # 1/17 and more is possible


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"alpha": 1.0}, ValueError, "alpha: expected a number above 0 and below 1, but got 1.0"),
        ({"method": "raps"}, ValueError, "unknown method 'raps'; did you mean 'aps'"),
        ({"method": "residual"}, ValueError, "unknown method 'residual'"),
        ({"y": [1, 2]}, DataError, "y is list"),
        ({"y": torch.arange(5)}, DataError, "as many labels as inputs, but got 5 labels for 240 inputs"),
        ({"y": torch.full((240,), 10)}, DataError, "y: "),
        ({"y": torch.zeros(240)}, DataError, "y: "),
    ],
)
def test_what_cannot_be_calibrated(learnt, changes, error, message):
    known = learnt.data("validation")
    with pytest.raises(error, match=message):
        learnt.sample(2).conformal(**{"x": known.x, "y": known.y, **changes})


def test_labels_of_other_integer_types_are_taken(learnt):
    nets, known = learnt.sample(2), learnt.data("validation")
    wanted = nets.conformal(known.x, known.y).threshold
    assert nets.conformal(known.x, known.y.numpy().astype("uint8")).threshold == wanted


def test_values_of_one_axis_are_taken_where_there_is_one_value(tmp_path):
    run = hf.train("diabetes", {"trainer.steps": 1, "trainer.device": "cpu"}, out=tmp_path / "run")
    nets, known = run.sample(2), run.data("validation")
    assert nets.conformal(known.x, known.y[:, 0]).threshold == nets.conformal(known.x, known.y).threshold


def test_points_of_the_toy_have_no_labels(tmp_path):
    settings = {"trainer.steps": 1, "trainer.device": "cpu", "evaluation.networks": 2}
    run = hf.train("toy", settings, out=tmp_path / "toy")
    with pytest.raises(DataError, match="y: "):
        run.sample(2).conformal(run.data("test").x, torch.zeros(8, 2), 0.2)


def test_the_command_predicts_sets(hyperframe, learnt, tmp_path):
    np.save(tmp_path / "x.npy", learnt.data("test").x[:5].numpy())
    command = ["predict", learnt.folder, "x.npy", "--alpha", "0.1"]
    code, out, _ = hyperframe(*command, "--json")
    assert code == 0
    known, nets = learnt.data("validation"), learnt.sample(4)
    sets = nets.conformal(known.x, known.y, 0.1).predict(learnt.data("test").x[:5])
    assert [row["set"] for row in json.loads(out)["examples"]] == [row.nonzero().flatten().tolist() for row in sets]
    assert hyperframe(*command, "--out", "found.npz")[0] == 0
    assert np.array_equal(np.load(tmp_path / "found.npz")["set"], sets.numpy())
    assert " set " in hyperframe(*command)[1]
    for alpha in ("1", "nan"):
        code, _, err = hyperframe(*command[:-1], alpha)
        assert code == 2
        assert "--alpha" in err


def test_the_command_predicts_intervals(hyperframe, tmp_path):
    run = hf.train("diabetes", {"trainer.steps": 1, "trainer.device": "cpu"}, out=tmp_path / "run")
    np.save(tmp_path / "x.npy", run.data("test").x[:2].numpy())
    code, out, _ = hyperframe("predict", "run", "x.npy", "--alpha", "0.1", "-n", 3, "--json")
    assert code == 0
    for row in json.loads(out)["examples"]:
        ((low, high),) = row["interval"]
        assert low < row["mean"][0] < high
