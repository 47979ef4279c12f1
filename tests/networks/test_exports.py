"""Every way out of the framework gives the network that is inside: module, state_dict, files of all kinds."""

import copy

import pytest
import safetensors.torch
import tiny
import torch
from torch import nn
from torch.nn.utils import parametrizations

import hyperframe as hf
from hyperframe.analysis.distillation.distill import METHODS, distill
from hyperframe.analysis.distillation.student import DistillationOptions
from hyperframe.errors import RunError, SpecError
from hyperframe.experiment.targets import traced_target
from hyperframe.networks import storage
from hyperframe.networks.target import Target
from hyperframe.targets.aliases import check_memory, own_names
from hyperframe.targets.tracing.tracer import trace
from hyperframe.testing import of_exports
from hyperframe.testing.laws import try_law
from hyperframe.testing.of_targets import TargetCase

SHAPE = (1, 8, 8)


class TwoNames(nn.Module):
    """A convolution and a BatchNorm, each under its own name and inside a Sequential."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn1 = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
        self.body = nn.Sequential(self.conv, self.bn1, nn.ReLU(), nn.Flatten())
        self.out = nn.Linear(108, 10)

    def forward(self, x):
        return self.out(self.body(x))


class Backbone(nn.Module):
    """A backbone whose children are registered once more, as feature extractors have them."""

    def __init__(self):
        super().__init__()
        self.backbone = TwoNames().body
        self.first, self.second = self.backbone[0], self.backbone[1]
        self.register_buffer("gain", torch.rand(108))
        self.out = nn.Linear(108, 10)
        self.out.register_buffer("same", self.gain)

    def forward(self, x):
        x = self.second(self.first(x)).relu().flatten(1)
        return self.out(x * self.gain * self.out.same)


class SharedMoments(nn.Module):
    """Two BatchNorms with one set of moments."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(64, 6), nn.Linear(6, 6), nn.Linear(6, 10)
        self.one, self.two = nn.BatchNorm1d(6), nn.BatchNorm1d(6)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(self.two, name, getattr(self.one, name))

    def forward(self, x):
        return self.out(self.two(self.b(self.one(self.a(x.flatten(1))).relu())).relu())


class Tied(nn.Module):
    """A weight that two layers have, and a module that is used twice under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight
        self.norm = self.again = nn.BatchNorm1d(64)

    def forward(self, x):
        return self.out(self.again(self.b(self.norm(self.a(x.flatten(1))).relu())).relu())


class Buffers(nn.Module):
    """Buffers that the state_dict keeps and leaves out, random as they are when it is made."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(64, 6), nn.Linear(6, 10)
        self.register_buffer("kept", torch.randn(6))
        self.register_buffer("left_out", torch.randn(6), persistent=False)

    def forward(self, x):
        return self.out((self.first(x.flatten(1)) * self.kept + self.left_out).relu())


def chain(*parts):
    return nn.Sequential(nn.Flatten(), *parts, nn.ReLU(), nn.Linear(6, 10))


MODULES = {
    "two names": TwoNames,
    "a backbone's children": Backbone,
    "moments that two norms share": SharedMoments,
    "tied": Tied,
    "buffers": Buffers,
    "weight norm": lambda: chain(parametrizations.weight_norm(nn.Linear(64, 6))),
    "orthogonal": lambda: chain(parametrizations.orthogonal(nn.Linear(64, 6))),
    "no momentum": lambda: chain(nn.Linear(64, 6), nn.BatchNorm1d(6, momentum=None)),
    "no moments": lambda: chain(nn.Linear(64, 6), nn.BatchNorm1d(6, track_running_stats=False)),
    "instances": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten(), nn.Linear(108, 10)
    ),
}


def target_of(module):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return traced_target(trace(module(), SHAPE, "net"))


def verdict_of(module):
    (law,) = [law for law in of_exports.LAWS if law.name == "every_way_out_agrees"]
    return try_law(law, [TargetCase(target_of(module))])


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of torch's, about weight_norm in vmap
@pytest.mark.parametrize("name", MODULES)
def test_the_law_of_the_kit_holds(name):
    verdict = verdict_of(MODULES[name])
    assert verdict.state == "passed", verdict.explain()


def without_aliases(of):
    """A state_dict that has what is generated under one name only, under others what the template has."""

    def state_dict(self, weights, index, statistics=None):
        state = of(self, weights, index, statistics)
        own = own_names(self.module)
        return {name: value if own[name] == name else self.module.state_dict()[name] for name, value in state.items()}

    return state_dict


@pytest.mark.parametrize("name", ["two names", "a backbone's children", "tied", "moments that two norms share"])
def test_the_law_fails_where_a_second_name_has_the_templates_values(name, monkeypatch):
    monkeypatch.setattr(Target, "state_dict", without_aliases(Target.state_dict))
    verdict = verdict_of(MODULES[name])
    assert (verdict.state, verdict.where) == ("failed", "nets[i]")


@pytest.mark.slow
def test_the_law_fails_where_a_file_lacks_statistics_or_has_others_weights(monkeypatch):
    write, unpack = storage.write_tensors, storage.unpack

    def forgetting(path, tensors, metadata):
        write(path, {name: value * ("running_mean" not in name) for name, value in tensors.items()}, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_tensors", forgetting)
        assert verdict_of(TwoNames).where == "a file for each network"
    monkeypatch.setattr(storage, "unpack", lambda *of: {name: value.flip(0) for name, value in unpack(*of).items()})
    assert verdict_of(TwoNames).where == "one file of all networks"


class Halving(nn.Sequential):
    """A module whose state_dict is not what it is made of."""

    def _load_from_state_dict(self, state, prefix, *others):
        state[f"{prefix}1.weight"] = state[f"{prefix}1.weight"] / 2
        super()._load_from_state_dict(state, prefix, *others)


def test_the_law_fails_for_a_module_that_loads_something_else():
    verdict = verdict_of(lambda: Halving(nn.Flatten(), nn.Linear(64, 10)))
    assert verdict.state == "failed"
    assert "differ" in verdict.message


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of some of the modules, the modules as they were handed over, and test inputs."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name in ("two names", "buffers"):
        module = MODULES[name]()
        run = hf.train("digits", {**tiny.GENERATED, "trainer.steps": 2}, module=module, out=folder / name)
        found[name] = run, module
    return found


@pytest.mark.slow
def test_networks_of_a_module_with_two_names_are_what_they_are_inside(tmp_path, trained):
    run, module = trained["two names"]
    x = run.experiment.task.data("test").x[:40]
    nets = run.sample(2)
    inside = nets.predict(x)
    files = sorted(run.write_state_dicts(tmp_path / "split", 2).iterdir())
    for number, path in enumerate(files):
        for state in (nets.state_dict(number), safetensors.torch.load_file(path)):
            module.load_state_dict(state, strict=True)
            torch.testing.assert_close(module.eval()(x).softmax(-1), inside[number], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(nets[number](x).softmax(-1), inside[number], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_distilled_file_reaches_what_was_measured(tmp_path, trained, method):
    run, module = trained["two names"]
    content = distill(run, tmp_path / "a.safetensors", method, DistillationOptions(networks=3, steps=2, examples=200))
    module.load_state_dict(safetensors.torch.load_file(content["file"]), strict=True)
    test = run.data("test")
    accuracy = (module.eval()(test.x).argmax(-1) == test.y).double().mean()
    assert abs(accuracy - content["results"]["written network"]["score"]) < 1 / len(test)


def test_buffers_that_a_state_dict_leaves_out_stay_with_the_run(trained):
    run, _ = trained["buffers"]
    other = Buffers()
    assert not torch.equal(other.left_out, run.experiment.target.module.left_out)
    again = hf.load(run.folder, module=other)
    x = run.experiment.task.data("test").x[:9]
    assert torch.equal(again.sample(2).predict(x), run.sample(2).predict(x))
    assert "left_out" not in run.sample(1).state_dict(0)
    with pytest.raises(RunError, match="the constants kept with the run do not fit"):
        run.experiment.target.load_constants({"kept": torch.zeros(6)})


def test_a_network_keeps_its_norms_momentum():
    target = target_of(MODULES["no momentum"])
    weights = {layer.name: torch.randn(1, layer.filters, layer.filter_size) for layer in target.spec.layers}
    assert target.network(weights, 0)[2].momentum is None


def test_moments_that_are_updated_several_times_in_a_pass_are_plain_means():
    target = target_of(SharedMoments).to("cpu", torch.float64)
    weights = {
        layer.name: torch.randn(2, layer.filters, layer.filter_size, dtype=torch.float64)
        for layer in target.spec.layers
    }
    x = torch.randn(3, 9, *SHAPE, dtype=torch.float64)
    found = target.estimate_statistics(weights, x)
    assert found.keys() == {f"one.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    for number in range(2):
        seen = []
        module = target.network(weights, number)
        for norm in (module.one, module.two):
            norm.train().register_forward_pre_hook(lambda norm, inputs, seen=seen: seen.append(inputs[0]))
        for batch in x:
            module(batch)
        torch.testing.assert_close(
            found["one.running_mean"][number], torch.stack([part.mean(0) for part in seen]).mean(0)
        )
        torch.testing.assert_close(
            found["one.running_var"][number], torch.stack([part.var(0) for part in seen]).mean(0)
        )


def overlapping():
    """Two parameters that are views of one tensor, which no copy of the module keeps."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 10))
    module[3].weight = nn.Parameter(module[1].weight.data)
    return module


def test_tensors_in_one_memory_are_refused(tmp_path, hyperframe):
    message = r"'1.weight' and '3.weight' lie in the same memory and are not one tensor; .* \(\.clone\(\)\)"
    with pytest.raises(SpecError, match=message):
        hf.train("digits", tiny.GENERATED, module=overlapping(), out=tmp_path / "run")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\ndef net():\n    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), "
        "nn.Linear(64, 64), nn.Linear(64, 10))\n    module[3].weight = nn.Parameter(module[1].weight.data)\n"
        "    return module\n"
    )
    code, out, err = hyperframe("train", "target=mine:net", "--out", "run")
    assert (code, out) == (2, "")
    assert "target 'mine:net': '1.weight' and '3.weight' lie in the same memory" in err
    assert not (tmp_path / "run").exists()


def test_parts_of_one_memory_that_do_not_overlap_are_no_matter():
    module = nn.Module()
    for name, part in zip("abc", torch.rand(9).split(3), strict=True):
        module.register_buffer(name, part)
    module.register_buffer("twice", module.a)
    check_memory(module, "net")
    module.register_buffer("d", module.b[1:])
    with pytest.raises(SpecError, match="net: 'b' and 'd' lie in the same memory"):
        check_memory(module, "net")
    assert own_names(copy.deepcopy(module))["twice"] == "a"
