"""Parts of a configuration: what is no component of its kind, or lacks something, is named in time."""

import pkgutil
import re

import pytest
import torch

import hyperframe as hf
from hyperframe.config.kinds import KINDS, check_component
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import PluginError

CHOSEN = {
    "task": {"task": "lacking"},
    "gauge": {"gauges": ["lacking"]},
    "entropy": {"entropy": "lacking"},
    "diversity": {"diversity": ["lacking"]},
    "objective": {"objective": "lacking"},
    "generator": {"generator": "lacking"},
}
"""How a configuration chooses a component of each kind that has a base class."""

LACKS = {
    "task": "augment, averaged, canonical_outputs, check_labels, data, input_shape, likelihood, loss, meter, metrics, "
    "name, num_outputs, predictions, score, score_metric, shift_invariant, summarise",
    "gauge": "__call__, fixes",
    "entropy": "__call__, minimum_samples",
    "diversity": "__call__, needs",
    "objective": "accuracy_weight",
}
"""Methods that an empty subclass of each base class lacks."""


def registry_with(kind, made):
    """The installed components and one `lacking` of a kind, whose factory gives `made`."""

    def register(self):
        return [hf.Component(name="lacking", factory=lambda *arguments: made)]

    plugin = type("Plugin", (), {KINDS[kind].hook: hf.hookimpl(register)})()
    # A hook's implementation is found by its name.
    register.__name__ = KINDS[kind].hook
    return Registry(make_plugin_manager(extra=[plugin]))


def refusal(tmp_path, small, kind, made):
    settings, registry = {**small.settings, **CHOSEN[kind]}, registry_with(kind, made)
    with pytest.raises(PluginError) as error:
        hf.train("digits_hypernetwork", settings, out=tmp_path / "run", registry=registry)
    assert not (tmp_path / "run").exists()
    return str(error.value)


@pytest.mark.parametrize("kind", LACKS)
def test_what_a_component_lacks_is_named(tmp_path, small, kind):
    made = type("Empty", (KINDS[kind].base,), {})()
    said = refusal(tmp_path, small, kind, made)
    assert re.match(rf"{kind} 'lacking' of Plugin.*: its factory must return an? {KINDS[kind].base.__name__}; ", said)
    assert said.endswith(f"; Empty has no {LACKS[kind]}")


@pytest.mark.parametrize("kind", CHOSEN)
def test_what_is_no_subclass_is_told_the_base_class(tmp_path, small, kind):
    base = KINDS[kind].base or hf.Generator
    said = refusal(tmp_path, small, kind, torch.nn.Identity())
    assert f"must return a{'n' * (base.__name__[0] in 'EO')} {base.__name__}, but gives Identity" in said
    place = re.search(r"which is no subclass of (\S+)$", said)[1]
    assert pkgutil.resolve_name(place) is base


def test_a_component_with_all_that_is_demanded_has_defaults_for_the_rest():
    class Nothing(hf.types.DiversityTerm):
        needs = frozenset()

        def __call__(self, inputs):
            return inputs

    term = Nothing()
    check_component(term, hf.types.DiversityTerm, "diversity 'nothing'")
    assert (term.minimum_networks, term.own_gradient, term.departures(None)) == (1, False, None)
