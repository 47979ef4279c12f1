"""Adversarial examples: properties of the attacks, known answers, and the analysis."""

import attrs
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.builtin.analyses.adversarial.attacks import (
    answers,
    fast_gradient_sign,
    log_probability_gradient,
    other_classes,
    projected_gradient,
)
from hyperframe.builtin.analyses.adversarial.success_rates import (
    ATTACKS,
    AttackOptions,
    Scene,
    count_fooled,
    success_rates,
)
from hyperframe.errors import ConfigError, HyperframeWarning, NotApplicableError
from hyperframe.networks.sampled import Networks, select
from hyperframe.options import read_options

SMALL = {"networks": 4, "images": 150, "sizes": [0.0, 0.2], "strong_sizes": [0.2], "strong_images": 30, "steps": 2}


def linear(weights):
    """Softmax regressions [networks, classes, inputs + 1] in float64, biases last."""
    _, classes, inputs = weights.shape
    layer = hf.targets.LayerSpec(
        name="fc", filters=classes, params=[hf.targets.kernel("weight", "o i"), hf.targets.bias("bias")]
    )
    spec = hf.targets.TargetSpec(
        name="one", input_shape=(inputs - 1,), num_outputs=classes, layers=[layer], logits="fc"
    )
    target = hf.networks.Target(torch.nn.Linear(inputs - 1, classes).double(), spec)
    return Networks(target, hf.ClassificationTask(), {"fc": weights.double()})


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 5))
def test_the_gradient_is_that_of_the_mean_probability(seed, count, classes):
    networks = linear(draw(seed, count, classes, 4))
    x, targets = draw(seed + 1, 3, 3), torch.arange(3) % classes
    inputs = x.clone().requires_grad_()
    outputs = networks.target.forward(networks.weights, inputs, shared=True)
    mean = outputs.softmax(-1).mean(0)[torch.arange(3), targets]
    (expected,) = torch.autograd.grad(mean.log().sum(), inputs)
    networks.target.networks_at_once = lambda examples: 2  # in chunks, the last one smaller
    torch.testing.assert_close(log_probability_gradient(networks, x, targets), expected)


def test_a_probability_that_underflows_has_a_gradient():
    networks = linear(torch.tensor([[[0.0, 0.0], [1e4, 0.0]]]))
    gradient = log_probability_gradient(networks, torch.tensor([[5.0]]).double(), torch.tensor([0]))
    assert gradient.tolist() == [[-1e4]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    size=st.floats(0, 2),
    steps=st.integers(1, 4),
    count=st.integers(1, 3),
    clip=st.booleans(),
)
def test_no_entry_changes_by_more_than_the_size_or_leaves_the_limits(seed, size, steps, count, clip):
    networks, x, targets = linear(draw(seed, count, 3, 5)), draw(seed + 1, 6, 4), torch.arange(6) % 3
    limits = (-0.5, 0.5) if clip else (-torch.inf, torch.inf)
    for changed in (
        *fast_gradient_sign(networks, x, targets, (size,), limits),
        projected_gradient(networks, x, targets, size, steps, limits),
    ):
        assert ((changed - x).abs() <= size + 1e-12).all()
        # What lies beyond the limits already goes no farther.
        assert (changed >= x.clamp(max=limits[0])).all()
        assert (changed <= x.clamp(min=limits[1])).all()


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.01, 3))
def test_one_step_against_a_linear_network_in_closed_form(seed, size):
    # Of two classes: the margin of the label falls by exactly ε · |w_target − w_label|₁.
    weights = draw(seed, 1, 2, 6)
    networks, x = linear(weights), draw(seed + 1, 20, 5)
    labels = answers(networks, x).mean
    difference = weights[0, 1 - labels] - weights[0, labels]
    margin = -(difference[:, :-1] * x).sum(1) - difference[:, -1]
    slack = margin - size * difference[:, :-1].abs().sum(1)
    (changed,) = fast_gradient_sign(networks, x, 1 - labels, (size,))
    fooled = answers(networks, changed).mean != labels
    clear = slack.abs() > 1e-9
    assert torch.equal(fooled[clear], (slack < 0)[clear])


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.01, 2), st.integers(2, 4))
def test_one_step_is_the_attack_in_several_steps_with_one(seed, size, count):
    networks, x, targets = linear(draw(seed, count, 3, 5)), draw(seed + 1, 6, 4), torch.arange(6) % 3
    (one,) = fast_gradient_sign(networks, x, targets, (size,))
    torch.testing.assert_close(projected_gradient(networks, x, targets, size, 1), one)


def test_several_steps_raise_the_probability_at_least_as_far_against_a_linear_network():
    networks, x, targets = linear(draw(0, 1, 2, 6)), draw(1, 20, 5), torch.arange(20) % 2
    (one,) = fast_gradient_sign(networks, x, targets, (0.3,))
    torch.testing.assert_close(projected_gradient(networks, x, targets, 0.3, 10), one)  # a linear one has no turns


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50), st.integers(0, 100))
def test_targets_are_other_classes(labels, seed):
    labels = torch.tensor(labels)
    targets = other_classes(labels, 5, torch.Generator().manual_seed(seed))
    assert (targets != labels).all()
    assert ((targets >= 0) & (targets < 5)).all()


def test_every_other_class_is_drawn_equally_often():
    targets = other_classes(torch.full((3000,), 2), 4, torch.Generator().manual_seed(0))
    assert (targets.bincount(minlength=4)[[0, 1, 3]] - 1000).abs().max() < 150


def scene(seed=0, ensemble=3, right=None):
    weights = draw(seed, 1 + 2 * ensemble, 3, 6)
    networks, x = linear(weights), draw(seed + 1, 12, 5)
    single = select(networks, slice(0, 1))
    labels = torch.arange(12) % 3
    if right is not None:
        given = answers(single, x).mean
        labels = given if right else (given + 1) % 3
    return Scene(
        single=single,
        ensemble=select(networks, slice(1, 1 + ensemble)),
        fresh=select(networks, slice(1 + ensemble, None)),
        x=x,
        y=labels,
        targets=(labels + 1) % 3,
        low=-2.0,
        high=2.0,
    )


OPTIONS = AttackOptions(sizes=(0.0, 0.05, 0.1), strong_sizes=(0.0, 0.1), steps=3)


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_a_perturbation_errors_are_the_error_rate(attack):
    own = scene()
    counts = count_fooled(own, attack, OPTIONS)
    found = success_rates([counts], attack, OPTIONS)
    wrong = answers(own.ensemble, own.x)
    errors = {
        "single": answers(own.single, own.x).mean,
        "ensemble_vote": wrong.vote,
        "ensemble_mean": wrong.mean,
    }
    for who, answer in errors.items():
        if who in ATTACKS[attack]:
            assert found["all"]["any_error"][who][0] == pytest.approx(float((answer != own.y).double().mean()))
    reference = "single" if attack.endswith("single") else "ensemble_mean"
    assert found["wrong_before"] == int((errors[reference] != own.y).sum())
    assert found["right_only"]["any_error"][reference][0] == 0


def test_a_single_network_is_the_ensemble_of_itself():
    own = attrs.evolve(scene(), ensemble=scene().single, fresh=scene().single)
    for attack in ATTACKS:
        for at in count_fooled(own, attack, OPTIONS)["fooled"]:
            assert all(value == next(iter(at.values())) for value in at.values())
    one, other = (count_fooled(own, f"steps_on_{kind}", OPTIONS)["fooled"] for kind in ("single", "ensemble"))
    assert [at["ensemble_mean"] for at in one] == [at["ensemble_mean"] for at in other]


def test_groups_of_items_add_up():
    own = scene()
    halves = [
        attrs.evolve(own, x=own.x[rows], y=own.y[rows], targets=own.targets[rows])
        for rows in (slice(0, 5), slice(5, 12))
    ]
    for attack in ATTACKS:
        whole = success_rates([count_fooled(own, attack, OPTIONS)], attack, OPTIONS)
        assert success_rates([count_fooled(half, attack, OPTIONS) for half in halves], attack, OPTIONS) == whole


def test_a_network_that_is_always_wrong_leaves_nothing_to_count():
    own = scene(right=False)
    found = success_rates([count_fooled(own, "one_step_on_single", OPTIONS)], "one_step_on_single", OPTIONS)
    assert found["wrong_before"] == found["examples"] == 12
    assert found["right_only"]["any_error"]["single"] is None
    assert found["all"]["any_error"]["single"][0] == 1


def test_without_clipping_examples_may_leave_the_range():
    # Within a range so small nothing that matters can move.
    own = attrs.evolve(scene(), x=1e-7 * scene().x, low=-1e-6, high=1e-6)
    options = attrs.evolve(OPTIONS, sizes=(0.0, 1e6))
    for clip, moves in ((True, False), (False, True)):
        counts = count_fooled(own, "one_step_on_single", attrs.evolve(options, clip=clip))
        assert (counts["fooled"][0] != counts["fooled"][1]) is moves


def test_sizes_are_sorted_and_one_is_needed():
    options = AttackOptions(sizes=(0.2, 0.1, 0.1), strong_sizes=())
    assert options.sizes_of("one_step_on_single") == (0.1, 0.2)
    assert options.attacks == ("one_step_on_single",)
    with pytest.raises(ConfigError, match="sizes: at least one"):
        read_options(AttackOptions, {"sizes": []}, "adversarial")


@pytest.fixture(scope="module")
def found(run, registry):
    return analyse(run, "adversarial", registry, SMALL)


@pytest.mark.slow
def test_the_analysis(run, found):
    first = found["attacks"]["one_step_on_single"]
    assert (found["examples"], first["sizes"]) == (150, [0.0, 0.2])
    assert found["networks"] == {"single": 2, "ensemble": 4, "fresh": 4, "attacked_in_ensemble": 4}
    assert found["attacks"]["steps_on_ensemble"]["examples"] == 30
    assert first["all"]["any_error"]["single"][0] == pytest.approx(first["wrong_before"] / 150)
    folder = run.folder / "analyses" / "adversarial"
    kept = [picture["file"] for picture in found["pictures"]]
    assert kept == ["transfer.png", "strong.png"]
    assert all((folder / file).is_file() for file in kept)
    assert f"{first['wrong_before']} of 150 images" in found["pictures"][0]["caption"]


def test_it_goes_on_where_it_was(run, registry, found, monkeypatch):
    made = []

    def interrupted(own, attack, options):
        made.append(attack)
        if len(made) == 5:  # the first attack of the second part
            raise KeyboardInterrupt
        return count_fooled(own, attack, options)

    monkeypatch.setattr("hyperframe.builtin.analyses.adversarial.count_fooled", interrupted)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        analyse(run, "adversarial", registry, SMALL)
    assert analyse(run, "adversarial", registry, SMALL) == found
    assert len(made) == 6


def test_an_ensemble_has_as_many_networks_as_it_was_asked_for(run, registry):
    found = analyse(run, "adversarial", registry, {**SMALL, "networks": 1, "images": 250, "strong_sizes": []})
    assert found["networks"] == {"single": 3, "ensemble": 1, "fresh": 1, "attacked_in_ensemble": 1}


@pytest.mark.slow
def test_few_networks_are_divided(registry, tmp_path):
    held = {"target": "mlp", "generator": "direct", "diversity": "none", "trainer.steps": 1, "trainer.device": "cpu"}
    for count in (5, 2):
        own = {"generator.networks": count, "trainer.networks": count, "evaluation.networks": 2}
        run = hf.train("digits", {**held, **own}, out=tmp_path / str(count))
        if count == 5:
            found = analyse(run, "adversarial", registry, {**SMALL, "strong_sizes": []})
            assert found["networks"] == {"single": 1, "ensemble": 2, "fresh": 2, "attacked_in_ensemble": 2}
            assert len(found["pictures"]) == 1
        else:
            with pytest.raises(NotApplicableError, match="holds 2"):
                analyse(run, "adversarial", registry, SMALL)


def test_batch_norm_keeps_each_networks_statistics(registry, tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = (
                torch.nn.Linear(3, 4, False),
                torch.nn.BatchNorm1d(4),
                torch.nn.Linear(4, 3),
            )

        def forward(self, x):
            return self.last(self.norm(self.first(x)).relu())

    first = [hf.targets.kernel("first.weight", "o i"), hf.targets.scale("norm.weight"), hf.targets.shift("norm.bias")]
    last = [hf.targets.kernel("last.weight", "o i"), hf.targets.bias("last.bias")]
    spec = hf.targets.TargetSpec(
        name="net",
        input_shape=(3,),
        num_outputs=3,
        logits="last",
        units=[hf.targets.UnitSpec(name="hidden", size=4, ops=["relu"])],
        layers=[
            hf.targets.LayerSpec(name="first", filters=4, writes=["hidden"], norm="batch", params=first),
            hf.targets.LayerSpec(name="last", filters=3, reads=["hidden"], params=last),
        ],
    )
    x, y = draw(0, 60, 3).float(), torch.arange(60) % 3
    own = {**tiny.GENERATED, "trainer.steps": 2}
    run = hf.train(module=Net(), spec=spec, data=(x, y), overrides=own, out=tmp_path / "run")
    networks = run.sample(3)
    torch.testing.assert_close(select(networks, slice(1, 2)).predict(x)[0], networks.predict(x)[1])
    found = analyse(run, "adversarial", registry, {**SMALL, "strong_images": 4})
    assert 0 <= found["attacks"]["one_step_on_single"]["wrong_before"] <= found["examples"]


def test_regression_is_refused(registry, tmp_path):
    data = draw(0, 60, 3).float(), draw(1, 60, 1).float()
    own = {**tiny.PERCEPTRON, "target.input_shape": [3], "target.outputs": 1, "trainer.steps": 1}
    run = hf.train(data=data, overrides=own, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'adversarial' does not apply: it is about probabilities"):
        analyse(run, "adversarial", registry)
