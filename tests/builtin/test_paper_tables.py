"""The paper's tables, as facts about what is built."""

from collections import Counter

import attrs
import pytest
import torch
from torch import nn

from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.describe import describe
from hyperframe.experiment.targets import build_target
from hyperframe.networks.dense import Dense, DenseOptions
from hyperframe.networks.hypernetwork import Hypernetwork, HypernetworkOptions


@pytest.fixture(scope="module")
def mnist(registry):
    small = ["trainer.networks=2", "trainer.batch_size=2"]  # the memory of a step is found quickly then
    return describe(load_config("mnist", ["target=mnist_cnn", *small], registry))


def test_table_2_mnist_target(mnist):
    layers = [(layer["filters"], layer["filter_size"], layer["weights"]) for layer in mnist["target"]["layers"]]
    assert layers == [(32, 26, 832), (16, 801, 12_816), (8, 785, 6_280), (10, 9, 90)]
    assert mnist["target"]["weights"] == 20_018


def test_table_5_mnist_hypernetwork(mnist):
    described = mnist["hypernetwork"]
    assert described["extractor"]["sizes"] == [300, 300, 300, 15 * (32 + 16 + 8 + 1)]
    assert described["extractor"]["parameters"] == 436_500
    assert [row["sizes"] for row in described["weight_generators"]] == [
        [15, 40, 40, 26],
        [15, 100, 100, 801],
        [15, 100, 100, 785],
        [15, 60, 60, 90],
    ]
    assert [row["parameters"] for row in described["weight_generators"]] == [3_240, 91_600, 90_000, 9_900]
    rows = [described["extractor"], *described["weight_generators"]]
    assert sum(row["parameters"] for row in rows) == 631_240
    assert sum(row["batch_norm"] for row in rows) == 2_400
    assert described["parameters"] == 633_640


def test_the_parameters_are_really_there(registry):
    generator = build_experiment(load_config("mnist", ["trainer.device=cpu"], registry)).generator
    assert sum(parameter.numel() for parameter in generator.parameters()) == 633_640
    linears = [module for module in generator.modules() if isinstance(module, nn.Linear)]
    assert sum(linear.weight.numel() for linear in linears) == 631_240
    assert all(linear.bias is None for linear in linears)


LENET = ["target=lenet", "generator.latent=100", "generator.code=8", "generator.extractor=[200,200]"]
LENET += ["generator.weight_generators=[400,400]", "generator.whole=[layer4,layer5]"]


@pytest.mark.parametrize(("classes", "last", "weights"), [(10, 850, 62_006), (100, 8_500, 69_656)])
def test_table_3_lenet_target(registry, classes, last, weights):
    described = describe(load_config("digits_hypernetwork", [*LENET, f"target.classes={classes}"], registry))["target"]
    layers = [(layer["filters"], layer["filter_size"], layer["weights"]) for layer in described["layers"]]
    assert layers == [(6, 76, 456), (16, 151, 2_416), (120, 401, 48_120), (84, 121, 10_164), (classes, 85, last)]
    assert described["weights"] == weights
    assert described["input_shape"] == [3, 32, 32]


def test_table_6_lenet_hypernetwork(registry):
    described = describe(load_config("digits_hypernetwork", LENET, registry))["hypernetwork"]
    assert described["extractor"]["sizes"] == [100, 200, 200, 8 * (6 + 16 + 120 + 1 + 1)]
    assert described["extractor"]["parameters"] == 290_400
    assert [row["sizes"] for row in described["weight_generators"]] == [
        [8, 400, 400, 76],
        [8, 400, 400, 151],
        [8, 400, 400, 401],
        [8, 400, 400, 10_164],
        [8, 400, 400, 850],
    ]
    entries = [row["parameters"] for row in described["weight_generators"]]
    assert entries == [193_600, 223_600, 323_600, 4_228_800, 503_200]


@pytest.mark.parametrize(
    ("sizes", "entries"),
    [
        # Table 7, ResNet-32: the printed sizes, then filters of kernel, scale and shift.
        ([8, 800, 800, 10], 654_400),
        ([8, 800, 800, 145], 762_400),
        ([8, 800, 800, 289], 877_600),
        ([8, 800, 800, 650], 1_166_400),
        ([8, 800, 800, 29], 669_600),
        ([8, 800, 800, 146], 763_200),
        ([8, 800, 800, 290], 878_400),
        ([8, 800, 800, 578], 1_108_800),
    ],
)
def test_table_7_matrix_entries(sizes, entries):
    with torch.device("meta"):
        assert Dense(sizes, DenseOptions()).num_matrix_entries == entries


@pytest.fixture(scope="module")
def resnet32(registry):
    config = load_config("digits_hypernetwork", ["target=resnet32", "target.input_shape=[3,32,32]"], registry)
    spec = build_target(config, config.task.make()).spec
    assert spec.num_weights == 466_906
    return spec


@pytest.mark.slow
def test_table_7_resnet_32_filters_and_what_each_makes_of_a_code(resnet32):
    """Filters are kernel, scale and shift; two layers are shortcuts, and the last has one code for all its filters."""
    sizes = {"code": 8, "extractor": (1000, 1000), "weight_generators": (800, 800), "latent": 500}
    with torch.device("meta"):
        described = Hypernetwork(HypernetworkOptions(**sizes), resnet32).describe()
        shared = Hypernetwork(HypernetworkOptions(**sizes, sharing="shape"), resnet32).describe()
    rows = Counter((row["sizes"][-1], row["parameters"]) for row in described["weight_generators"])
    stages = {(29, 669_600): 1, (146, 763_200): 11, (290, 878_400): 10, (578, 1_108_800): 9}
    assert rows == stages | {(18, 660_800): 1, (34, 673_600): 1, (650, 1_166_400): 1}
    groups = {row["sizes"][-1]: len(row["layers"]) for row in shared["weight_generators"]}
    assert groups == {29: 1, 146: 11, 290: 10, 18: 1, 578: 9, 34: 1, 650: 1}
    codes = sum(row["codes"] for row in described["weight_generators"])
    assert codes == sum(row["codes"] for row in shared["weight_generators"]) == 1_233
    assert described["extractor"]["sizes"] == [500, 1000, 1000, 8 * codes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "parameters", "dimension"),
    [
        ({"code": 8, "rank": 16}, 255_712, 16),
        ({"code": 4, "rank": 32}, 287_664, 32),
        ({"code": 8, "rank": 32, "latent": 128}, 455_472, 32),
    ],
)
def test_a_hypernetwork_of_resnet_32_can_have_fewer_parameters_than_its_target(
    resnet32, options, parameters, dimension
):
    forms = {"sharing": "shape", "residual": True, "extractor": (128, 128), "weight_generators": (64, 64)}
    generator = Hypernetwork(HypernetworkOptions(**forms, **options), resnet32)
    counted = sum(parameter.numel() for parameter in generator.parameters())
    assert counted == generator.describe()["parameters"] == parameters < resnet32.num_weights
    assert generator.dimension == dimension
    weights = generator(generator.latent(2, torch.Generator().manual_seed(0)))
    assert sum(theta[0].numel() for theta in weights.values()) == resnet32.num_weights


def test_symmetries_of_the_mnist_target(mnist):
    known = {kind: entry["known"] for kind, entry in mnist["symmetries"].items() if entry["known"]}
    assert known == {"scaling": 56, "permutation": 56, "logit_shift": 9}


def test_the_authors_initialisation(registry):
    config = load_config("mnist", ["trainer.device=cpu"], registry)
    generator = build_experiment(config).generator
    for linear in (module for module in generator.modules() if isinstance(module, nn.Linear)):
        std = 0.1 / linear.in_features**0.5
        assert float(linear.weight.detach().std()) == pytest.approx(std, rel=0.1)
        assert float(linear.weight.detach().abs().max()) <= 2 * std / 0.879
    assert attrs.asdict(config.generator.options)["initialisation"] == "authors"
