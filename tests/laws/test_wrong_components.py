"""The conformance kit fails wrong components by the law that they break, and says where and why."""

import math

import pytest
import torch
from torch import nn
from wrong import GAUGES, KINDS, Neighbours, Pictures, Steps, Weights, plugin, registering

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.entry_points import Source
from hyperframe.errors import ConfigError, PluginError, Terminated
from hyperframe.tasks.structured import Head, HeadsTask
from hyperframe.testing import ConformanceError, checks
from hyperframe.testing.laws import Case, Law, try_law
from hyperframe.types import NoOptions

WRONG = [(kind, name) for kind, (table, _) in KINDS.items() for name in table]


def verdicts(kind, name, laws=None):
    """The verdicts on a wrong component, on all laws of its kind or on some."""
    found = checks("wrong", kind=kind, registry=make_registry([plugin(kind, name)]))
    return {check.law.name: check.verdict() for check in found if laws is None or check.law.name in laws}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), WRONG)
def test_wrong_components_fail(kind, name):
    expected = KINDS[kind][0][name][1]
    found = verdicts(kind, name, expected)
    failed = {law for law, verdict in found.items() if verdict.state == "failed"}
    assert expected <= failed, {law: verdict.message for law, verdict in found.items()}
    for law in expected:
        assert found[law].message
        assert found[law].cause


@pytest.mark.slow
def test_a_failure_names_the_layer_the_axes_and_a_small_example():
    found = verdicts("target", "forgotten tie")["scaling"]
    assert "stem" in found.where
    assert "stem.weight axis 0" in found.where
    assert "read by" in found.where
    assert "networks=1, examples=8" in found.example
    assert "a reader or tied writer left out" in found.cause


@pytest.mark.slow
def test_a_gauge_that_scales_in_secret_is_caught_beside_scale():
    from hyperframe.component import Component
    from hyperframe.hookspecs import hookimpl

    class Own:
        @hookimpl
        def hyperframe_gauges(self):
            make = GAUGES["secretly scaling"][0]
            return [Component(name="wrong", factory=lambda options, orbits: make(orbits))]

    found = checks("scale,wrong", registry=make_registry([Own()]))
    assert any(check.verdict().state == "failed" for check in found)


def test_two_gauges_for_one_orbit_are_no_list():
    for check in checks("sign,logit_shift,logit_bias"):
        with pytest.raises(ConfigError, match="'logit_shift' and 'logit_bias' are no list of gauges: both fix"):
            check.verdict()


def test_a_check_raises_as_a_test_does():
    registry = make_registry([plugin("gauge", "not idempotent")])
    (check,) = [check for check in checks("wrong", registry=registry) if check.law.name == "twice_is_once"]
    with pytest.raises(ConformanceError, match=r"(?s)gauge 'wrong'\ntwice_is_once: .*seen: .*usual cause: "):
        check()


def test_a_signal_ends_a_law_and_is_no_failure_of_it():
    signals = [Terminated(143)]

    def holds(case, draw):
        if signals:
            raise signals.pop()

    with pytest.raises(Terminated):
        try_law(Law(name="law", text="holds", cause="none", holds=holds), [Case()])


def test_what_cannot_be_built_is_not_tried():
    found = verdicts("target", "a shared weight claimed twice")
    assert {verdict.state for law, verdict in found.items() if law != "can_be_built"} == {"vacuous"}


@pytest.mark.parametrize(
    ("kind", "name", "law", "said"),
    [
        (
            "generator",
            "an unknown distribution",
            "latent_is_distributed",
            "one of uniform, normal or None, but is 'gaus",
        ),
        ("generator", "no latent", "weights_have_shapes", "ForgetsLatent has no latent"),
        ("entropy", "a constant left out", "known_entropies", "of 1000 uniform samples with 1 entries it is 0.5"),
    ],
)
def test_a_failure_names_what_an_author_forgot(kind, name, law, said):
    assert said in verdicts(kind, name, [law])[law].message


def test_an_estimator_that_tells_its_departures_is_not_asked_for_known_entropies():
    (check,) = [check for check in checks("gaussian", kind="entropy") if check.law.name == "known_entropies"]
    verdict = check.verdict()
    assert verdict.state == "vacuous"
    assert "'gaussian' does not estimate Shannon's entropy" in verdict.message


def test_an_unknown_component_of_a_plugin_that_was_not_loaded_is_told_why():
    manager = make_plugin_manager()
    source = Source(plugin="shop:own", distribution="shop", version="1.2")
    manager.leave_out(source, "ModuleNotFoundError: No module named 'own'")
    with pytest.raises(PluginError, match=r"Not loaded: plugin 'shop:own' of shop 1\.2: ModuleNotFoundError"):
        checks("own", registry=Registry(manager))


def test_wrong_names():
    with pytest.raises(PluginError, match="unknown component 'scael'; did you mean 'scale'"):
        checks("scael")
    with pytest.raises(PluginError, match="unknown gauge 'mlp'"):
        checks("mlp", kind="gauge")
    with pytest.raises(ConfigError, match="hiden"):
        checks("lenet", {"hiden": 3})
    with pytest.raises(ConfigError, match="model"):
        checks("torchvision")
    assert {check.kind for check in checks("mlp")} == {"target", "generator"}


class Yes(Pictures):
    """Inputs of zeros and ones, which coincide by chance."""

    def data(self, split):
        data = super().data(split)
        return hf.Data((data.x > 0).float(), data.y)


class OneClass(Pictures):
    num_outputs = 1

    def data(self, split):
        data = super().data(split)
        return hf.Data(data.x, torch.zeros_like(data.y))


class FlippedSteps(Steps):
    """Sequences that are turned round with their labels, at other brightness."""

    def augment_data(self, data, rng):
        flipped = torch.rand(len(data), generator=rng) < 0.5
        x = torch.where(flipped[:, None, None], data.x.flip(-1), data.x) * (1 + torch.rand(1, generator=rng))
        return hf.Data(x, torch.where(flipped[:, None], data.y.flip(-1), data.y))


class TwoHeads(HeadsTask):
    """Heads of classes alone, whose loss sees no common shift, one of them with several labels an example."""

    name, input_shape = "two_heads", (3,)

    def __init__(self):
        super().__init__({"one": Head(task=Pictures()), "steps": Head(task=Steps(), label_shape=(4,), weight=0.3)})

    def data(self, split):
        one, steps = (head.task.data(split) for head in self.heads.values())
        return hf.Data(one.x, self.pack_labels({"one": one.y, "steps": steps.y}))


class Correlated(Weights):
    """Entries of z that go together, and their entropy."""

    latent_distribution = "normal"

    def latent(self, count, rng):
        z = super().latent(count, rng)
        z[:, 1] = (z[:, 0] + z[:, 1]) / 2**0.5
        return z

    def latent_entropy(self):
        return self.spec.num_weights * math.log(2 * math.pi * math.e) / 2 - math.log(2) / 2


class SubsetTerm(hf.types.DiversityTerm):
    """A term that compares two networks drawn at random."""

    needs = frozenset({"flat", "rng"})

    def __call__(self, inputs):
        rows = torch.randperm(len(inputs.flat), generator=inputs.rng)[:2]
        return -(inputs.flat[rows[0]] - inputs.flat[rows[1]]).square().sum().add(1e-6).log()


def thin():
    """One unit a layer, which is dead on half of all weights."""
    layers = [nn.Linear(3, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 4)]
    return hf.trace(nn.Sequential(*layers), (3,), "thin")


RIGHT = {
    "inputs of few values": ("task", lambda options: Yes()),
    "one class": ("task", lambda options: OneClass()),
    "padded sequences": ("task", lambda options: Steps()),
    "sequences turned round": ("task", lambda options: FlippedSteps()),
    "two heads of classes": ("task", lambda options: TwoHeads()),
    "two networks at random": ("diversity", lambda options, estimator: SubsetTerm()),
    "known entropies": ("entropy", lambda options: Neighbours()),
    "correlated z": ("generator", lambda options, spec, task: Correlated(spec)),
    "thin": ("target", lambda options: thin()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_right_components_that_are_easily_mistaken_pass(name):
    kind, factory = RIGHT[name]
    registry = make_registry([registering(kind, hf.Component(name="right", factory=factory, options=NoOptions))])
    for check in checks("right", registry=registry):
        assert check.verdict().state != "failed", check.verdict().explain()


@pytest.mark.parametrize(("name", "message"), [("scale,scale", "no list of different"), ("scale,", "no list of")])
def test_lists_with_a_name_twice_or_none(name, message):
    with pytest.raises(ConfigError, match=message):
        checks(name)


def test_options_that_a_factory_refuses_are_the_users_mistake():
    with pytest.raises(ConfigError, match="unknown model of torchvision"):
        checks("torchvision:resnet8")[0].verdict()
