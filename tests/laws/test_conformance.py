"""Every component that is registered keeps the laws of its kind."""

from typing import get_args

import pytest
from PIL import Image

from hyperframe.api import make_registry
from hyperframe.config.kinds import KINDS
from hyperframe.entry_points import OWN_DISTRIBUTION
from hyperframe.tasks.term_inputs import MadeKind
from hyperframe.testing import checks as checks_of

ELSEWHERE = {"resnet32", "cifar100"}  # like resnet20, and checked with the larger networks; like cifar10
OPTIONS = {
    "torchvision": {"model": "shufflenet_v2_x0_5"},
    "arrays": {"file": "arrays.npz"},
    "image_folder": {"folder": "photos", "size": [8, 8]},
}
DATA = ("mnist", "fashion_mnist", "cifar10")
INSTALLED = make_registry()
"""Made once: each takes a fortieth of a second, and there are a hundred lists of checks."""
REGISTERED = [entry for entry in INSTALLED.all() if entry.component.name not in ELSEWHERE and entry.kind != "analysis"]
OF_EXAMPLES = {"example_weights_are_numbers", "examples_count_one", "networks_keep_their_data"}
"""Laws of objectives that do not count all examples alike."""
LONG = {"diversity", "gauge"}
"""Kinds whose laws take seconds."""
LONG_ONES = {
    "bhn",
    "cifar10",
    "fashion_mnist",
    "lstm_classifier",
    "mnfg",
    "modes",
    "resnet20",
    "shapes",
    "torchvision",
    "unet_tiny",
    "vit_tiny",
}
"""Components of other kinds whose laws do, and beside which quicker ones of their kind are left."""


def checks(name, options=None, **chosen):
    return checks_of(name, options, registry=INSTALLED, **chosen)


def marks_of(entry):
    """Whether the laws of a component need data sets, and take long; a plugin's own tests have its laws as well."""
    marks = [pytest.mark.data] if entry.component.name in DATA and entry.kind == "task" else []
    long = entry.kind in LONG or entry.component.name in LONG_ONES or entry.source.distribution != OWN_DISTRIBUTION
    return [*marks, pytest.mark.slow] if long else marks


ALL = [
    pytest.param(
        check,
        id=check.id,
        marks=marks_of(entry),
    )
    for entry in REGISTERED
    for check in checks(entry.component.name, OPTIONS.get(entry.component.name), kind=entry.kind)
]
NOTHING = (
    "no such symmetry",
    "nothing to be fixed",
    "the weights cost nothing",
    "all examples count 1",
    "it is not meant to be the negative evidence lower bound",
    "it compares no outputs",
    "says what keeps it from Shannon's entropy",
)
"""Reasons for which a law does not apply to a component that ships."""

# Targets with other options than their defaults.
OTHERS = [
    ("digits_cnn", {"channels": [3, 5]}),
    ("lenet", {"classes": 3}),
    ("lstm_classifier", {"input_shape": [5, 2], "outputs": 3, "hidden": 4, "layers": 2}),
    ("vit_tiny", {"input_shape": [3, 4, 6], "outputs": 3, "width": 8, "heads": 2, "depth": 1, "hidden": 6}),
    ("mlp", {"hidden": []}),
    ("mlp", {"hidden": [], "input_shape": [3], "outputs": 2}),
    ("mlp", {"hidden": [5], "input_shape": [7], "outputs": 1}),
    ("mlp", {"hidden": [6, 4, 5], "input_shape": [2, 3, 3], "outputs": 3}),
    ("mlp", {"hidden": [5, 4], "activation": "tanh"}),
    ("mlp", {"hidden": [5, 4], "activation": "gelu"}),
]
OF_ONE_KIND = {"scaling", "sign", "normalisation", "norm_sign", "logit_shift", "permutation"}
"""Laws of which `all_together` has each; those of a target that takes long are slow."""


def marks_of_law(check):
    long = check.component in LONG_ONES and (check.law.name in OF_ONE_KIND or check.component == "lstm_classifier")
    return [pytest.mark.slow] if long else []


OTHER_TARGETS = [
    pytest.param(check, id=f"{check.id}-{options}", marks=marks_of_law(check))
    for name, options in OTHERS
    for check in checks(name, options, kind="target")
]
LISTS = ["logit_shift,scale,sign,normalisation,permutation_sort", "scale,logit_bias", "normalisation,permutation_sort"]
LISTS += ["logit_shift,scale,sign,normalisation,permutation_match"]


@pytest.fixture(scope="module", autouse=True)
def own_files(tmp_path_factory):
    """An arrays file and a folder of images, in the current folder."""
    import numpy as np

    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    np.savez(folder / "arrays.npz", x=rng.normal(size=(60, 4)).astype("float32"), y=rng.integers(3, size=60))
    for kind in ("cats", "dogs"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(256, size=(8, 8, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / "photos" / kind / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def test_all_kinds_are_there():
    assert {entry.kind for entry in REGISTERED} == {*KINDS} - {"analysis"}


@pytest.mark.parametrize("check", [*ALL, *OTHER_TARGETS])
def test_every_law_of_every_component_holds(check):
    verdict = check.verdict()
    assert verdict.state != "failed", verdict.explain()
    if check.kind == "target" and check.law.name in ("scaling", "sign") and verdict.state == "passed":
        assert "bit for bit" in verdict.message  # factors that are powers of two leave no rounding
    if verdict.state == "vacuous":
        assert any(reason in verdict.message for reason in NOTHING)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[
            ("trade_off", {"weight_l2": 0.3, "lambda_start": 1, "bootstrap": kind})
            for kind in ("bernoulli", "exponential")
        ],
        *[("vi", {"prior": prior, "trust": 0.5}) for prior in ("flat", "laplace", "scale_mixture")],
    ],
)
def test_objectives_with_a_cost(name, options):
    for check in checks(name, options):
        verdict = check.verdict()
        assert verdict.state != "failed", verdict.explain()
        without = {"departures_are_told"} if name == "trade_off" else OF_EXAMPLES
        assert (verdict.state == "vacuous") == (check.law.name in without)


@pytest.mark.parametrize("inputs", get_args(MadeKind))
def test_laws_of_inputs_hold_for_every_kind(inputs):
    for check in checks("output_information", {"inputs": inputs}):
        if check.law.name.startswith("inputs"):
            assert check.verdict().state == "passed", check.verdict().explain()


@pytest.mark.slow
@pytest.mark.parametrize("check", checks("function_repulsion", {"form": "determinant"}), ids=lambda check: check.id)
def test_repulsion_by_a_determinant(check):
    assert check.verdict().state == "passed", check.verdict().explain()


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for names in LISTS for check in checks(names)], ids=lambda check: check.id)
def test_lists_of_gauges(check):
    assert check.verdict().state == "passed", check.verdict().explain()


@pytest.mark.slow
def test_regression_is_checked_too():
    import numpy as np

    rng = np.random.default_rng(0)
    np.savez("values.npz", x=rng.normal(size=(60, 4)).astype("float32"), y=rng.normal(size=(60, 2)))
    for check in checks("arrays", {"file": "values.npz"}):
        assert check.verdict().state == "passed", check.verdict().explain()
