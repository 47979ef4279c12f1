"""Part of a network: which parameters patterns name, what the others have, and weights that are given."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hyperframe.errors import ConfigError, RunError
from hyperframe.targets.part import PartOptions, find_parameters, take_part, trained_weights

WHERE = "target 'net'"


def network(classes=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, classes))


def trainable(module):
    return [name for name, value in module.named_parameters() if value.requires_grad]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["3"], ["3.weight", "3.bias"]),
        (["3.*"], ["3.weight", "3.bias"]),
        (["?.bias"], ["0.bias", "1.bias", "3.bias"]),
        (["3", "*.bias"], ["0.bias", "1.bias", "3.weight", "3.bias"]),
        (["*"], ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]),
    ],
)
def test_what_patterns_name_alone_is_trainable(patterns, found):
    module = network()
    assert trainable(take_part(module, PartOptions(generate=tuple(patterns)), None, WHERE)) == found
    assert trainable(module) == [name for name, _ in module.named_parameters()]


def test_a_pattern_names_whole_modules_only():
    """`layer1` is not the beginning of `layer10`."""
    module = nn.ModuleDict({"layer1": nn.Linear(2, 2, bias=False), "layer10": nn.Linear(2, 2, bias=False)})
    assert find_parameters(module, ["layer1"], WHERE) == ["layer1.weight"]


def test_a_pattern_may_be_a_layers_name_or_a_number():
    assert find_parameters(network(), [3], WHERE) == ["3.weight", "3.bias"]
    assert find_parameters(network(), ["first"], WHERE, {"first": ["0.weight", "1.bias"]}) == ["0.weight", "1.bias"]


def test_a_second_name_of_a_parameter_names_it_too():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2] = module[0]
    assert find_parameters(module, ["2"], WHERE) == ["0.weight", "0.bias"]


@pytest.mark.parametrize(("pattern", "close"), [("3.wieght", "3.weight"), ("[a]", "Known"), ("", "Known")])
def test_a_pattern_that_names_nothing_is_told_with_what_is_close(pattern, close):
    with pytest.raises(ConfigError, match=r"target 'net': target\.generate: unknown parameter") as told:
        take_part(network(), PartOptions(generate=("0", pattern)), None, WHERE)
    assert close in str(told.value)


def test_parameters_that_the_network_keeps_constant_stay_so():
    module = network()
    module[3].requires_grad_(False)
    assert trainable(take_part(module, PartOptions(generate=("1", "3")), None, WHERE)) == ["1.weight", "1.bias"]
    with pytest.raises(ConfigError, match="keeps constant"):
        take_part(module, PartOptions(generate=("3",)), None, WHERE)


def test_all_else_has_the_weights_of_the_file(tmp_path):
    """Buffers too; a generated parameter may have another shape, or be missing."""
    given = nn.Sequential(*network(classes=7))
    given[1].running_mean.fill_(0.5)
    state = given.state_dict()
    del state["3.bias"]
    save_file(state, tmp_path / "given.safetensors")
    options = PartOptions(generate=("3",), weights=str(tmp_path / "given.safetensors"))
    part = take_part(network(), options, None, WHERE)
    own = part.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if not name.startswith("3"))
    assert part[3].weight.shape == (3, 5)
    assert trained_weights(options, dict(part[3].named_parameters(prefix="3"))) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("1.running_var"), r"'1.running_var' of shape \[5\] is not there"),
        (lambda state: state.update({"0.bias": torch.ones(6)}), r"'0.bias' of shape \[5\] has the shape \[6\] there"),
        (lambda state: state.update({"0.wieght": torch.ones(6)}), "another network: unknown tensor '0.wieght'"),
    ],
)
def test_weights_of_another_network_are_told(tmp_path, change, message):
    state = dict(network().state_dict())
    change(state)
    save_file(state, tmp_path / "given.safetensors")
    with pytest.raises(ConfigError, match=message):
        take_part(network(), PartOptions(generate=("3",), weights=str(tmp_path / "given.safetensors")), None, WHERE)


def test_a_pickle_is_not_read(tmp_path):
    for name, options in (("new.pt", {}), ("old.pt", {"_use_new_zipfile_serialization": False})):
        torch.save(network().state_dict(), tmp_path / name, **options)
        with pytest.raises(ConfigError, match=r"(?s)is a pickle, which can run code.*save_file"):
            PartOptions(weights=str(tmp_path / name)).read_weights()
    with pytest.raises(RunError, match="there is no file"):
        PartOptions(weights=str(tmp_path / "none.safetensors")).read_weights()


def test_weights_to_begin_at_are_those_that_are_given(tmp_path):
    state = network().state_dict()
    save_file({name: value for name, value in state.items() if name != "3.bias"}, tmp_path / "given.safetensors")
    parameters = dict(network().named_parameters())
    named = {weights: list(trained_weights(PartOptions(weights=weights), parameters)) for weights in (False, True)}
    assert named == {False: [], True: list(parameters)}
    of_file = trained_weights(PartOptions(weights=str(tmp_path / "given.safetensors")), parameters)
    assert list(of_file) == [name for name in parameters if name != "3.bias"]
    assert all(torch.equal(value, state[name]) for name, value in of_file.items())
