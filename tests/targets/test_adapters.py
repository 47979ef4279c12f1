"""Low-rank adapters: what they change, what they are merged to, and the symmetries that they have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import hyperframe as hf
from hyperframe.config.choices import choose
from hyperframe.errors import ConfigError
from hyperframe.experiment.targets import make_target
from hyperframe.networks import initial_std
from hyperframe.targets.adapters import (
    LowRank,
    adaptable,
    add_adapters,
    has_adapters,
    merge_adapters,
    merge_state,
    run_apart,
)
from hyperframe.targets.part import PartOptions, take_part
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.testing.kit import try_law
from hyperframe.testing.of_targets import LAWS, TargetCase


def convolutions():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 5, 1, bias=False), nn.Flatten(), nn.Linear(20, 3)
    )


def adapted(registry, **options):
    section = {"name": "digits_cnn", "adapter": "lora", "rank": 2, "weights": True, **options}
    return make_target(choose(registry, "target", section, "target"), (1, 8, 8), 0).to("cpu", torch.float64)


@given(rank=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_change_has_the_rank_that_was_asked_for(rank, seed):
    torch.manual_seed(seed)
    kernel = torch.randn(6, 2, 3, 3, dtype=torch.float64)
    change = LowRank(kernel, rank).double()(kernel) - kernel
    assert torch.linalg.matrix_rank(change.view(6, 18)) == min(rank, 6)


def test_a_layer_alone_has_its_adapter_and_its_kernel_is_constant():
    module = convolutions()
    assert adaptable(module) == {"0.weight", "2.weight", "4.weight"}
    kernel = module[2].weight.detach().clone()
    add_adapters(module, ["2.weight"], 2)
    assert torch.equal(module.get_parameter("2.parametrizations.weight.original"), kernel)
    assert not module.get_parameter("2.parametrizations.weight.original").requires_grad
    assert has_adapters(module)
    assert adaptable(module) == {"0.weight", "4.weight"}


def test_a_kernel_that_two_layers_share_has_no_adapter():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    module[1].weight = module[0].weight
    assert adaptable(module) == {"2.weight"}


def test_merged_a_module_is_an_ordinary_one_that_answers_the_same():
    """Copies that are not merged stay as they are: torch's own way back would take the kernel from all of them."""
    module = convolutions().double()
    names, x = list(module.state_dict()), torch.randn(5, 4, 4, 4, dtype=torch.float64)
    add_adapters(module, ["0.weight", "4.weight"], 3)
    copied = torch.nn.Sequential(*[__import__("copy").deepcopy(part) for part in module])
    expected = module(x)
    merge_adapters(module)
    assert list(module.state_dict()) == names
    assert not has_adapters(module)
    assert type(module[0]) is nn.Conv2d
    assert torch.equal(module(x), expected)
    assert torch.equal(copied(x), expected)


def test_a_layer_that_stands_at_two_places_is_merged_at_both():
    shared = nn.Linear(5, 5)
    module = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(5, 2))
    names, x = list(module.state_dict()), torch.randn(3, 5)
    add_adapters(module, ["0.weight"], 2)
    expected, merged = module(x), merge_state(module, module.state_dict())
    merge_adapters(module)
    assert set(merged) == set(names) == set(module.state_dict())
    module.load_state_dict(merged)
    assert torch.equal(module(x), expected)


LAYERS = {
    "dense": (lambda: nn.Linear(6, 5), (3, 6)),
    "dense along an axis": (lambda: nn.Linear(6, 5, bias=False), (3, 2, 6)),
    "one axis": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (3, 4, 9)),
    "reflected": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (3, 4, 5, 6)),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, dilation=2, bias=False), (3, 4, 7, 6)),
    "in groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (3, 4, 5, 6)),
    "volumes": (lambda: nn.Conv3d(4, 6, 2), (3, 4, 3, 4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_apart_a_layer_gives_what_it_gives_merged(name):
    """Outputs, and gradients at both factors and the inputs."""
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = make().double()
    add_adapters(layer, ["weight"], 3)
    x, found = torch.randn(shape, dtype=torch.float64, requires_grad=True), []
    adapter = layer.parametrizations["weight"][0]
    for apart in (False, True):
        if apart:
            run_apart(layer)
        outputs = layer(x)
        seeds = torch.ones_like(outputs).cumsum(0)
        found.append([outputs, *torch.autograd.grad(outputs, [x, adapter.down, adapter.up], seeds)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_networks_are_taken_out_merged(registry):
    """Outputs in the batch, of single modules, and of a plain module that loads the state_dict are the same."""
    target = adapted(registry)
    weights = redraw(target.spec, 3, torch.Generator().manual_seed(0), torch.float64)
    x = torch.randn(7, 1, 8, 8, dtype=torch.float64)
    outputs = target.forward(weights, x, shared=True)
    plain = make_target(choose(registry, "target", "digits_cnn", "target"), (1, 8, 8), 0).module.double()
    for number in range(3):
        state = target.state_dict(weights, number)
        plain.load_state_dict(state)
        torch.testing.assert_close(plain(x), outputs[number], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(target.network(weights, number)(x), outputs[number], rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def case(registry):
    return TargetCase(adapted(registry))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_targets_with_adapters_keep_the_laws(case, law):
    """The pairs of U's columns and D's rows change places, and share factors and signs."""
    assert try_law(law, [case]).state != "failed"


def test_what_is_known_of_the_freedom_of_an_adapter(case):
    """Of GL(rank) its permutations, factors and signs: as many of each as there are ranks in all layers."""
    from hyperframe.targets.symmetry.orbits import orbits

    target = case.target
    layers = len(target.spec.layers) // 2
    counts = orbits(target.structure, True).counts
    assert (layers, counts["permutation"], counts["scaling"], counts["sign"]) == (3, 6, 6, 6)


def test_both_factors_begin_as_kernels_do(case):
    """Else D, which tracing takes for a table, would begin at 0."""
    spec = case.target.spec
    for layer in spec.layers:
        assert (initial_std(spec, layer) > 0).all()


def test_layers_that_the_file_lacks_are_generated_whole(registry, tmp_path):
    """As a last layer for other classes; its bias is generated with it."""
    plain = make_target(choose(registry, "target", "digits_cnn", "target"), (1, 8, 8), 0).module
    last = [name for name, _ in plain.named_parameters()][-2:]
    save_file({k: v for k, v in plain.state_dict().items() if k not in last}, tmp_path / "trunk.safetensors")
    target = adapted(registry, weights=str(tmp_path / "trunk.safetensors"))
    generated = [param.parameter for layer in target.spec.layers for param in layer.params]
    assert generated[-2:] == last
    assert all(name in last or ".parametrizations.weight.0." in name for name in generated)


def test_a_layer_that_cannot_be_adapted_is_told():
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    options = PartOptions(generate=("1",), adapter="lora")
    with pytest.raises(ConfigError, match=r"only kernels of dense and convolution layers .* such as '1.weight'"):
        take_part(module, options, None, "target 'net'")


def test_files_of_networks_hold_adapters_alone_or_merged_networks(tmp_path, small):
    """`write_samples` keeps what was generated, and is read again; single networks are ordinary state_dicts."""
    run = small(tmp_path / "run", **{"target.adapter": "lora", "target.rank": 2, "target.weights": True})
    run.write_samples(tmp_path / "adapters.safetensors", 3)
    from safetensors import safe_open

    with safe_open(tmp_path / "adapters.safetensors", "pt") as file:
        assert all(".parametrizations.weight.0." in name for name in file.keys())  # noqa: SIM118
    again = hf.load(run.folder)
    x = run.experiment.task.data("test").x[:5]
    assert torch.equal(again.sample(3).predict(x), run.sample(3).predict(x))
    assert not any("parametrizations" in name for name in run.sample(3).state_dict(0))
