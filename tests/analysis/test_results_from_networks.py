"""Results of analyses agree with results that are computed again, in another way, from the same networks."""

import itertools
import math
from unittest import mock

import pytest
import torch
import wiring
from scipy.optimize import minimize_scalar
from wiring import OPTIONS

import hyperframe.builtin.analyses.adversarial as adversarial
from hyperframe.analysis.bootstrap import mean_interval
from hyperframe.analysis.runner import analyse
from hyperframe.analysis.scoring import mean_scores, some_examples
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.adversarial.attacks import answers, fast_gradient_sign, projected_gradient
from hyperframe.builtin.analyses.adversarial.success_rates import ATTACKS, AttackOptions, count_fooled
from hyperframe.builtin.analyses.novelty.neighbourhood import LEVELS, Neighbourhood, nearest_other, pairs_of
from hyperframe.builtin.analyses.out_of_distribution import RATES
from hyperframe.builtin.analyses.plane.geometry import Plane
from hyperframe.networks.sampled import select
from hyperframe.runs.loading import load_run
from hyperframe.runtime.rng import stream, stream_seed
from hyperframe.targets.symmetry.matching import Matching
from hyperframe.targets.weights import concatenate, slice_weights
from hyperframe.tasks.calibration import COLDEST, HOTTEST, entropy_of
from hyperframe.types import Data


def examples(learnt, split, count):
    return some_examples(learnt.data(split), count, learnt.config.evaluation.seed)


def probabilities(networks, x):
    return networks.gathered(x, lambda outputs: outputs.double().softmax(-1))


def scores(networks, x, singles):
    p = probabilities(networks, x)
    total = entropy_of(p.mean(0))
    return {
        "entropy": [total],
        "mutual_information": [total - entropy_of(p).mean(0)],
        "single_entropy": list(entropy_of(p[:singles])),
    }


def area(inside, outside):
    """Return the probability that a strange example has the higher score."""
    return float((outside[:, None] > inside).double().mean() + (outside[:, None] == inside).double().mean() / 2)


@pytest.mark.slow
def test_strange_images_are_told_by_each_score(learnt, registry):
    own = OPTIONS["out_of_distribution"]
    found = analyse(learnt, "out_of_distribution", registry, own)
    networks, x, train = (
        learnt.sample(own["networks"]),
        examples(learnt, "test", own["images"]).x,
        learnt.data("train").x,
    )
    inside = scores(networks, x, own["singles"])
    strange = {"turned": x.rot90(1, (-2, -1)), "inverted": train.min() + train.max() - x}
    for kind, images in strange.items():
        outside = scores(networks, images, own["singles"])
        for score in inside:
            areas = [area(one, other) for one, other in zip(inside[score], outside[score], strict=True)]
            assert found["kinds"][kind][score]["auroc"] == pytest.approx(sum(areas) / len(areas), abs=1e-9)
        assert found["kinds"][kind]["mean_entropy"] == pytest.approx(float(outside["entropy"][0].mean()))
        curve = [torch.tensor(part, dtype=torch.float64) for part in (found["roc"]["found"][kind], RATES)]
        assert found["kinds"][kind]["entropy"]["auroc"] == pytest.approx(float(torch.trapezoid(*curve)), abs=0.01)
    assert found["mean_entropy"] == pytest.approx(float(inside["entropy"][0].mean()))


def calibrated(p, test, validation):
    """Return the NLL of probabilities on test examples at the temperature that is best on validation examples."""

    def nll(temperature, p, labels):
        return float(torch.nn.functional.cross_entropy(p.log() / temperature, labels))

    ends = math.log(COLDEST), math.log(HOTTEST)
    fitted = minimize_scalar(lambda log: nll(math.exp(log), p[1], validation.y), bounds=ends, method="bounded")
    return nll(math.exp(fitted.x), p[0], test.y)


def held_out(p, test, validation, folds=10):
    """Return each test example's NLL at the temperature that is best on validation and the other folds' examples."""
    found = torch.zeros(len(test), dtype=torch.float64)
    for rows in torch.randperm(len(test), generator=stream(0, "halves")).chunk(folds):
        others = torch.ones(len(test), dtype=torch.bool).index_fill(0, rows, value=False)
        known = torch.cat([p[0][others], p[1]]), torch.cat([test.y[others], validation.y])
        for row in rows.tolist():
            found[row] = calibrated((p[0][row : row + 1], known[0]), test[row : row + 1], Data(known[0], known[1]))
    return found


@pytest.mark.slow
def test_the_comparison_is_paired_and_of_calibrated_likelihoods(learnt, registry):
    own = OPTIONS["deep_ensemble"]
    found = analyse(learnt, "deep_ensemble", registry, own)
    test, validation = (
        examples(learnt, "test", own["examples"]),
        examples(learnt, "validation", own["validation_examples"]),
    )

    def nlls(networks, size):
        both = [probabilities(networks, data.x)[:size].mean(0) for data in (test, validation)]
        return held_out(both, test, validation)

    seed = learnt.config.evaluation.seed
    draws = [learnt.sample(found["sizes"][-1], draw) for draw in (seed, stream_seed(seed, "ensemble 1"))]
    for place in (0, -1):
        wanted = torch.stack([nlls(networks, found["sizes"][place]) for networks in draws])
        assert found["ensembles"]["calibrated_nll"][place] == pytest.approx(float(wanted.mean()), rel=1e-5)
    folders = sorted((learnt.folder / "analyses" / "deep_ensemble" / "references").iterdir())
    runs = {(run.config.generator.options.networks, "averaged" in run.folder.name): run for run in map(load, folders)}
    for row in found["references"]:
        reference = nlls(runs[row["networks"], row["averaged"]].sample(row["networks"]), row["networks"])
        assert row["calibrated_nll"] == pytest.approx(float(reference.mean()), rel=1e-5)
        assert row["difference"] == pytest.approx(float((wanted - reference).mean()), rel=1e-4)
        assert row["interval"] == pytest.approx(mean_interval(wanted - reference), rel=1e-4)
    least = min(found["references"], key=lambda row: row["calibrated_nll"])
    assert found["references"][found["best"]] == least


def load(folder):
    return load_run(folder, make_registry(), "cpu")


def test_temperatures_of_single_networks_are_their_own(learnt, registry):
    own = {**OPTIONS["ensembles"], "draws": 1}
    found = analyse(learnt, "ensembles", registry, own)
    test, validation = (
        examples(learnt, "test", own["examples"]),
        examples(learnt, "validation", own["validation_examples"]),
    )
    both = [probabilities(learnt.sample(own["networks"]), data.x) for data in (test, validation)]
    wanted = [calibrated(pair, test, validation) for pair in zip(*both, strict=True)]
    assert found["single"]["calibrated_nll"]["mean"] == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)
    together = calibrated([p.mean(0) for p in both], test, validation)
    largest = found["ensembles"]["mean_probability"][-1]
    assert largest["calibrated_nll"]["mean"] == pytest.approx(together, rel=1e-5)


def test_mistakes_and_distances_are_those_to_other_networks(learnt, registry):
    found = analyse(learnt, "novelty", registry, OPTIONS["novelty"])["drawn"]["each"]
    test, networks = learnt.data("test"), learnt.sample(OPTIONS["novelty"]["networks"], gauge=True)
    wrong = probabilities(networks, test.x).argmax(-1) != test.y
    sets = [set(row.nonzero()[:, 0].tolist()) for row in wrong]
    others = [[other for other in range(len(sets)) if other != own] for own in range(len(sets))]
    alike = [max(len(sets[n] & sets[m]) / len(sets[n] | sets[m]) for m in others[n]) for n in range(len(sets))]
    assert found["overlap"] == pytest.approx(alike)
    assert max(alike) < 1
    assert found["accuracy"] == pytest.approx((1 - wrong.double().mean(1)).tolist())
    apart = Neighbourhood(learnt.experiment.orbits, networks.weights).distances(networks.weights)
    nearest = [float(min(min(apart[n, m], apart[m, n]) for m in others[n])) for n in range(len(sets))]
    assert found["distance"] == pytest.approx(nearest)
    assert min(nearest) > 0


def test_a_plane_goes_through_the_first_pair_of_the_paths(learnt, registry):
    seen, generator = {}, learnt.experiment.generator
    forward = generator.forward
    for name in ("paths", "plane"):
        inputs = seen.setdefault(name, [])
        with mock.patch.object(generator, "forward", lambda z, to=inputs: (to.append(z), forward(z))[1]):
            found = analyse(learnt, name, registry, OPTIONS[name])
    pairs = [z for z in seen["paths"][1:] if len(z) == 2]  # the first networks show whether the training diverged
    assert torch.equal(seen["plane"][-1][:2], pairs[0])
    assert len({row.numpy().tobytes() for z in pairs for row in z}) == 2 * OPTIONS["paths"]["pairs"]
    plane, test = Plane(seen["plane"][-1]), examples(learnt, "test", OPTIONS["plane"]["examples"])
    for row, y in enumerate(found["y"]):
        z = plane.at(torch.tensor([[x, y] for x in found["x"]]))
        with torch.no_grad():
            losses, scores = mean_scores(learnt.networks_of(generator(z)), test)
        assert found["loss"][row] == pytest.approx(losses.tolist(), rel=1e-4)
        assert found["score"][row] == pytest.approx(scores.tolist(), abs=0.02)


@pytest.fixture(scope="module")
def scenes(learnt, registry):
    """The scenes that the analysis of adversarial examples attacks, part by part."""
    seen = []

    def noting(scene, attack, options):
        seen.append((scene, attack, options))
        return count_fooled(scene, attack, options)

    with mock.patch.object(adversarial, "count_fooled", noting):
        analyse(learnt, "adversarial", registry, OPTIONS["adversarial"])
    return seen


def test_attacked_networks_others_and_fresh_ones_are_different_draws(learnt, scenes):
    first = [scene for scene, attack, _ in scenes if attack == "one_step_on_single"]
    assert len(first) == 2
    own = OPTIONS["adversarial"]
    singles = [wiring.rows_of(scene.single)[0] for scene in first]
    assert len(set(singles)) == 2
    for scene, _, _ in scenes:
        ensemble, fresh = set(wiring.rows_of(scene.ensemble)), set(wiring.rows_of(scene.fresh))
        assert len(ensemble) == len(fresh) == own["networks"]
        assert not ensemble & fresh
        assert not (ensemble | fresh) & set(singles)
    test, train = examples(learnt, "test", own["images"]), learnt.data("train").x
    assert torch.equal(torch.cat([scene.x for scene in first]), test.x)
    assert torch.equal(torch.cat([scene.y for scene in first]), test.y)
    for scene, _, _ in scenes:
        assert (scene.low, scene.high) == (float(train.min()), float(train.max()))
        assert (scene.targets != scene.y).all()


def test_examples_are_made_for_one_and_tried_on_others(scenes):
    """All counts of all attacks follow from the attack and the answers of the networks that it is tried on."""
    tried = 0
    for scene, attack, options in scenes:
        counts = count_fooled(scene, attack, options)["fooled"]
        seen = scene.single if attack.endswith("single") else select(scene.ensemble, slice(options.gradient_networks))
        for size, count in zip(options.sizes_of(attack), counts, strict=True):
            reach, limits = size * (scene.high - scene.low), (scene.low, scene.high)
            if attack.startswith("one_step"):
                (examples,) = fast_gradient_sign(seen, scene.x, scene.targets, (reach,), limits)
            else:
                examples = projected_gradient(seen, scene.x, scene.targets, reach, options.steps, limits)
            for who in ATTACKS[attack]:
                name, _, rule = who.partition("_")
                answer = getattr(answers(getattr(scene, name), examples), rule or "mean")
                wanted = {"any_error": answer != scene.y, "target": answer == scene.targets}
                assert {goal: count[who][goal][0] for goal in wanted} == {
                    goal: int(fooled.sum()) for goal, fooled in wanted.items()
                }
                tried += 1
    attacks = AttackOptions(**{**OPTIONS["adversarial"], "sizes": (0.02, 0.1), "strong_sizes": (0.1,)}).attacks
    assert {attack for _, attack, _ in scenes} == set(attacks)
    assert tried > 20


def test_ensembles_of_different_draws_share_no_network(learnt, registry):
    with wiring.Spy().watching() as spy:
        analyse(learnt, "ensembles", registry, OPTIONS["ensembles"])
    draws = list(dict.fromkeys(tuple(rows) for rows, _ in spy.seen if len(rows) == OPTIONS["ensembles"]["networks"]))
    assert len(draws) == OPTIONS["ensembles"]["draws"]
    assert draws[0] == tuple(wiring.rows_of(learnt.sample(OPTIONS["ensembles"]["networks"])))
    for one, other in itertools.combinations(draws, 2):
        assert not set(one) & set(other)


def test_the_entropy_counts_no_more_directions_than_are_left(learnt, monkeypatch):
    """The evaluation's entropy is the estimator's at min(dimension, directions)."""
    experiment = learnt.experiment
    networks = learnt.sample(4)
    rows = torch.cat([theta.flatten(1) for theta in experiment.gauge(networks.weights).values()], 1)
    directions = experiment.target.spec.num_weights - sum(
        experiment.gauge.fixed(experiment.orbits.counts)[kind] for kind in ("logit_shift", "scaling", "normalisation")
    )
    for dimension, counted in ((3, 3), (10**6, directions)):
        monkeypatch.setattr(experiment.generator, "dimension", dimension)
        wanted = float(experiment.estimator(rows, counted))
        assert learnt.evaluate(4)["entropy"] == pytest.approx(wanted, rel=1e-6)


def test_copies_and_averages_are_compared_in_gauge(learnt, registry):
    found = analyse(learnt, "novelty", registry, OPTIONS["novelty"])
    samples = learnt.sample(OPTIONS["novelty"]["networks"], gauge=True).weights
    around = Neighbourhood(learnt.experiment.orbits, samples)
    nearest, which = nearest_other(around.distances(samples))
    parts = [level * float(nearest.median()) for level in LEVELS]
    made = {
        "noised": [around.add_noise(n, parts[n], learnt.config.evaluation.seed) for n in range(len(parts))],
        "averaged": [around.average(*pair) for pair in pairs_of(which.tolist())],
    }
    for name, copies in made.items():
        apart = around.distances(learnt.experiment.gauge(concatenate(copies)))
        assert found[name]["each"]["distance"] == pytest.approx(apart.amin(1).tolist(), rel=1e-5)
    for number, level in enumerate(
        found["levels"]
    ):  # what noise costs is what it costs the network that it is added to
        before, after = (found[name]["each"]["accuracy"][number :: len(LEVELS)] for name in ("drawn", "noised"))
        costs = [one - other for one, other in zip(before, after, strict=True)]
        assert level["loss"] == pytest.approx(sum(costs) / len(costs), abs=1e-9)
    assert len({level["loss"] for level in found["levels"]}) > 1


def test_units_are_those_of_all_networks(learnt, registry):
    found = analyse(learnt, "unit_diversity", registry, OPTIONS["unit_diversity"])
    weights = learnt.sample(OPTIONS["unit_diversity"]["networks"], gauge=True).weights
    matched = Matching(learnt.experiment.orbits, slice_weights(weights, slice(0, 1)))(weights)
    layer, reader = (matched[name] for name in learnt.experiment.target.spec.layer_names)
    apart = (layer - layer.mean(0)).square().sum(2).mean(0) / layer.square().sum(2).mean(0)
    (units,) = found["layers"].values()
    assert units["spread"] == pytest.approx(apart.sqrt().tolist(), rel=1e-5)
    read = reader[:, :, : layer.shape[1]].square().sum(1).sqrt()
    strength = (read / read.mean(1, keepdim=True)).mean(0)
    assert units["strength"] == pytest.approx(strength.tolist(), rel=1e-5)
