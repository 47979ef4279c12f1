"""Every component that is registered keeps the laws of its kind."""

from typing import get_args

import pytest
from PIL import Image

from hyperframe.api import make_registry
from hyperframe.config.kinds import KINDS
from hyperframe.tasks.term_inputs import MadeKind
from hyperframe.testing import checks

ELSEWHERE = {"resnet32", "cifar100"}  # like resnet20, and checked with the larger networks; like cifar10
OPTIONS = {
    "torchvision": {"model": "shufflenet_v2_x0_5"},
    "arrays": {"file": "arrays.npz"},
    "image_folder": {"folder": "photos", "size": [8, 8]},
}
DATA = ("mnist", "fashion_mnist", "cifar10")
REGISTERED = [
    entry for entry in make_registry().all() if entry.component.name not in ELSEWHERE and entry.kind != "analysis"
]
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
    "resnet20",
    "torchvision",
    "unet_tiny",
    "vit_tiny",
}
"""Components of other kinds whose laws do, and beside which quicker ones of their kind are left."""


def marks_of(entry):
    """Whether the laws of a component need data sets, and whether they take long."""
    marks = [pytest.mark.data] if entry.component.name in DATA and entry.kind == "task" else []
    return [*marks, pytest.mark.slow] if entry.kind in LONG or entry.component.name in LONG_ONES else marks


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
OTHER_TARGETS = [
    pytest.param(check, id=f"{check.id}-{options}")
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
