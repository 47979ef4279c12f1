"""Coverage and size of conformal sets and intervals: their numbers, and the analysis."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.conformal.coverage import measure_intervals, measure_sets
from hyperframe.errors import ConfigError, NotApplicableError
from hyperframe.tasks.conformal import deviation_of_coverage, rank

FEW = settings(max_examples=25)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(examples, classes, seed):
    return torch.randint(classes, (examples,), generator=torch.Generator().manual_seed(seed))


@FEW
@given(st.integers(1, 3), st.integers(2, 4), st.integers(9, 30), st.integers(0, 99))
def test_sets_are_measured_as_they_are_defined(networks, classes, examples, seed):
    known, asked = uniform(networks, examples, classes, seed=seed), uniform(networks, 12, classes, seed=seed + 1)
    known_labels, labels = labels_of(examples, classes, seed), labels_of(12, classes, seed + 1)
    (found,) = measure_sets(known, known_labels, asked, labels, [0.2])
    covered, sizes = [], []
    for own, new in zip(known, asked, strict=True):
        scores = sorted(float(row[label]) for row, label in zip(own, known_labels, strict=True))
        place = rank(examples, 0.2)
        limit = scores[place - 1] if place <= examples else float("inf")
        sets = [[k for k in range(classes) if float(row[k]) <= limit] for row in new]
        covered.append([float(int(label) in one) for one, label in zip(sets, labels, strict=True)])
        sizes.append([len(one) for one in sets])
    covered, sizes = torch.tensor(covered, dtype=torch.float64), torch.tensor(sizes)
    assert found["coverage"] == pytest.approx(float(covered.mean()))
    assert found["standard_error"] == pytest.approx(float(covered.mean(0).std(correction=0)) / 12**0.5)
    assert found["size"] == pytest.approx(float(sizes.double().mean()))
    assert found["empty"] == pytest.approx(float((sizes == 0).double().mean()))
    assert found["singletons"] == pytest.approx(float((sizes == 1).double().mean()))
    for number, share in enumerate(found["by_class"]):
        own = covered[:, labels == number]
        assert share == (pytest.approx(float(own.mean())) if own.numel() else None)


@FEW
@given(st.integers(1, 3), st.integers(1, 2), st.integers(5, 20), st.integers(0, 99))
def test_intervals_are_measured_as_they_are_defined(networks, values, examples, seed):
    def drawn(count, seed):
        mean, deviation = uniform(networks, count, values, seed=seed), uniform(networks, count, values, seed=seed + 7)
        return mean, deviation + 0.1, 2 * uniform(count, values, seed=seed + 9)

    known, asked = drawn(examples, seed), drawn(11, seed + 100)
    (found,) = measure_intervals(known, asked, [0.25])
    inside, widths = torch.zeros(networks, 11, values), torch.zeros(networks, 11, values)
    for network in range(networks):
        for value in range(values):
            mean, deviation, y = known[0][network, :, value], known[1][network, :, value], known[2][:, value]
            limit = float(((y - mean).abs() / deviation).sort().values[rank(examples, 0.25) - 1])
            for example in range(11):
                half = limit * float(asked[1][network, example, value])
                widths[network, example, value] = 2 * half
                gap = abs(float(asked[2][example, value] - asked[0][network, example, value]))
                inside[network, example, value] = float(gap <= half)
    assert found["coverage"] == pytest.approx(float(inside.mean()))
    assert found["width"] == pytest.approx(float(widths.mean()), rel=1e-6)
    assert found["by_value"] == pytest.approx(inside.mean((0, 1)).tolist())


def test_coverage_is_as_promised_over_draws_of_all_examples():
    """Of many networks at once, each with calibration and test examples of its own."""
    networks, known, asked = 4000, 19, 5
    scores = uniform(networks, known + asked, 3, seed=5)
    labels = labels_of(known + asked, 3, 6)
    rows = measure_sets(scores[:, :known], labels[:known], scores[:, known:], labels[known:], [0.05, 0.1, 0.5])
    for row in rows:
        wanted = rank(known, row["alpha"]) / (known + 1)
        assert row["coverage"] == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / networks) ** 0.5)
        assert row["coverage"] >= 1 - row["alpha"] - 0.03


def test_results_are_those_of_calibrated_networks(learnt, registry):
    options = {"networks": 4, "singles": 1, "alphas": [0.15, 0.002]}
    found = analyse(learnt, "conformal", registry, options)
    known, asked = learnt.data("validation"), learnt.data("test")
    assert (found["networks"], found["singles"], found["calibration"], found["examples"]) == (4, 1, 240, 360)
    nets = learnt.sample(4, learnt.config.evaluation.seed)
    for who, own in (("ensemble", nets), ("single", nets[:1])):
        sets = own.conformal(known.x, known.y, 0.15).predict(asked.x)
        covered = sets.gather(1, asked.y[:, None]).double().mean()
        assert found[who]["lac"][0]["coverage"] == pytest.approx(float(covered), abs=0.003)  # there in float32
        assert found[who]["lac"][0]["size"] == pytest.approx(float(sets.sum(1).double().mean()), abs=0.003)
        assert found[who]["aps"][0]["size"] != found[who]["lac"][0]["size"]
        few = found[who]["aps"][1]
        assert (few["coverage"], few["size"], few["singletons"]) == (1, 10, 0)
    assert found["deviation"] == pytest.approx([deviation_of_coverage(240, 0.15), 0])
    assert list(found["skipped"]) == ["α = 0.002"]
    assert "240 validation examples are too few, 499 are needed" in found["skipped"]["α = 0.002"]
    assert any("1 − α = 85 %" in label for label in found["highlights"])
    assert (learnt.folder / "analyses" / "conformal" / found["pictures"][0]["file"]).stat().st_size > 5000


def test_intervals_of_values(tmp_path):
    run = hf.train("diabetes", {"trainer.steps": 20, "trainer.device": "cpu"}, out=tmp_path / "run")
    found = analyse(run, "conformal", make_registry(), {"networks": 6, "singles": 2, "alphas": [0.2]})
    assert (set(found["ensemble"]), set(found["single"])) == ({"constant", "scaled"}, {"constant"})
    known, asked, nets = run.data("validation"), run.data("test"), run.sample(6)
    ends = nets.conformal(known.x, known.y, 0.2).predict(asked.x)
    row = found["ensemble"]["scaled"][0]
    assert row["width"] == pytest.approx(float((ends[..., 1] - ends[..., 0]).mean()), rel=1e-4)
    inside = (ends[..., 0] <= asked.y) & (asked.y <= ends[..., 1])
    assert row["coverage"] == pytest.approx(float(inside.double().mean()), abs=0.02)
    assert len(row["by_value"]) == 1
    one = nets[:1].conformal(known.x, known.y, 0.2).predict(asked.x)
    other = nets[1:2].conformal(known.x, known.y, 0.2).predict(asked.x)
    widths = [float((part[..., 1] - part[..., 0]).mean()) for part in (one, other)]
    assert found["single"]["constant"][0]["width"] == pytest.approx(sum(widths) / 2, rel=1e-4)
    alone = analyse(run, "conformal", make_registry(), {"networks": 1, "alphas": [0.2, 0.001]})
    assert set(alone["ensemble"]) == {"constant"}
    assert alone["ensemble"]["constant"][1]["width"] is None  # no ends


def test_what_it_does_not_apply_to(tmp_path, learnt, registry):
    toy = {"trainer.steps": 1, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    with pytest.raises(NotApplicableError, match=r"conformal.*gaussian_mixture"):
        analyse(hf.train("toy", toy, out=tmp_path / "toy"), "conformal", registry)
    for alphas in ([], [0.0], [1.0]):
        with pytest.raises(ConfigError, match="alphas"):
            analyse(learnt, "conformal", registry, {"alphas": alphas})


def test_its_section_is_on_the_report(tmp_path, registry):
    from hyperframe.analysis.page.document import page
    from hyperframe.analysis.report import collect

    run = hf.train("digits_hypernetwork", {**PERCEPTRON, "trainer.steps": 2}, out=tmp_path / "run")
    text = page(collect(run, registry, ["conformal"]), run.folder / "analyses")
    assert "Conformal prediction" in text
    assert "Coverage and size" in text
