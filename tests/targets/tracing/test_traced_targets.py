"""Traced targets in use: torchvision's networks by name, what is left out or frozen, statistics, images that move."""

import json

import pytest
import torch
from modules import KNOWN, Dense, Net, Residual, dense
from tiny import CHECKED, GENERATED
from torch import nn

import hyperframe as hf
from hyperframe.errors import HyperframeError

FAST = {**CHECKED, "trainer.steps": 2}


@pytest.mark.slow
def test_a_network_of_torchvision_by_its_short_name(hyperframe):
    for arguments in (["torchvision:squeezenet1_1"], ["torchvision", "target.model=squeezenet1_1"]):
        code, out, _ = hyperframe("describe", *arguments, "target.classes=7", "generator=mlp", "--json")
        described = json.loads(out)
        assert code == 0
        assert described["target"]["name"] == "torchvision:squeezenet1_1"
        assert described["target"]["outputs"] == 7
        assert described["symmetries"]["scaling"] == {"known": 2944, "fixed": 2944}
        assert described["symmetries"]["permutation"] == {"known": 2944, "fixed": 0}


def test_a_configuration_may_name_a_network_of_torchvision(hyperframe, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: digits\ntarget: torchvision:mnasnet0_5\ngenerator: mlp\n")
    code, out, _ = hyperframe("config", str(file))
    assert code == 0
    assert "name: torchvision" in out
    assert "model: mnasnet0_5" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torchvision:resnet19"], "did you mean 'resnet18'"),
        (["torchvision"], "target.model: a value is needed"),
        (["torchvision:resnet18", "target.arguments=[weights=DEFAULT]"], "'weights' cannot be given"),
        (["torchvision:resnet18", "target.arguments=[width]"], "expected KEY=VALUE, but got 'width'"),
        (["torchvision:resnet18", "target.arguments=[height=3]"], "cannot build resnet18"),
        (["torchvision:resnet18", "target.arguments=['norm_layer=[&a [1], *a]']"], "aliases such as '*a' are not"),
        (["torchvision:resnet18", "target.arguments=['norm_layer=!!python/name:os.system']"], "tags such as"),
        (["torchvision:inception_v3"], "does not run on inputs of shape (3, 32, 32)"),
        (["torchvision:resnet18", "target.image_size=0"], "target.image_size"),
        (["resnet20", "target.input_shape=[3,32]"], "expected channels, height and width"),
    ],
)
def test_wrong_networks_of_torchvision(hyperframe, arguments, message):
    code, out, err = hyperframe("describe", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_target_that_does_not_fit_its_task(hyperframe, tmp_path):
    code, _, err = hyperframe(
        "train", "target={name: resnet20, input_shape: [3, 32, 32]}", "generator=mlp", "--out", "run"
    )
    assert code == 2
    assert (
        "does not fit task 'digits': it takes inputs of shape [3, 32, 32], and the task's are [1, 8, 8]; leave" in err
    )


def test_parameters_that_no_output_depends_on_stay_as_they_are(tmp_path, recwarn):
    module = Net(lambda m, x: m.out(x.flatten(1)), out=dense(64, 10), idle=dense(3, 3))
    run = hf.train("digits", FAST, module=module, out=tmp_path / "run")
    assert any(
        "2 of its parameters" in str(warning.message) and "idle.weight" in str(warning.message) for warning in recwarn
    )
    net = run.sample(2)[0]
    assert torch.equal(net.idle.weight, module.idle.weight)
    assert not torch.equal(net.out.weight, module.out.weight)


@pytest.mark.slow
def test_describe_shows_what_was_frozen(hyperframe, tmp_path, monkeypatch):
    (tmp_path / "own_sums.py").write_text(
        "from torch import nn\n"
        "class Rows(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first, self.out = nn.Linear(64, 6), nn.Linear(6, 10)\n"
        "    def forward(self, x):\n"
        "        return self.out(self.first(x.flatten(1)).cumsum(1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code, out, _ = hyperframe("describe", "own_sums:Rows", "generator=mlp")
    assert code == 0
    assert "frozen: cumsum in the network: it has no rule" in out
    code, out, _ = hyperframe("describe", "own_sums:Rows", "generator=mlp", "--json")
    described = json.loads(out)
    assert described["target"]["frozen"] == [{"op": "cumsum", "place": "", "why": "it has no rule"}]
    assert described["target"]["units"] == []


def test_blocks_are_counted_where_they_are_no_heads():
    from hyperframe.experiment.describe import exchanged_blocks

    grouped = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
    )
    of = hf.trace(grouped, [1, 5, 5]).structure
    assert exchanged_blocks(of) == [{"count": 3, "units": 2, "writers": ["0"]}]


@pytest.mark.slow
def test_unit_spaces_name_all_that_writes_and_reads_them(tmp_path):
    from hyperframe.experiment.describe import unit_spaces
    from hyperframe.targets.symmetry.orbits import orbits

    spaces = {space["name"]: space for space in unit_spaces(orbits(hf.trace(Residual(), [1, 8, 8]).structure, True))}
    assert list(spaces) == ["stem", "b"]
    assert spaces["stem"]["writers"] == ["stem", "a"]
    assert spaces["stem"]["readers"] == ["a", "b", "skip"]
    assert spaces["b"] | {"ops": []} == {
        "name": "b",
        "size": 24,
        "permutation": 24,
        "ops": [],
        "writers": ["b", "skip"],
        "readers": ["out"],
        "scaling": 24,
        "sign": 0,
    }


def test_units_that_stand_alone_are_not_counted_as_exchangeable():
    """The input is added, so that each unit stands beside another number."""
    from hyperframe.experiment.describe import unit_spaces
    from hyperframe.targets.symmetry.orbits import orbits

    make, shape, _ = KNOWN["the input added"]
    of = orbits(hf.trace(make(), shape).structure, True)
    assert [(space["size"], space["permutation"]) for space in unit_spaces(of)] == [(4, 0)]
    assert of.counts["permutation"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("module", [Dense, Residual])
def test_drawn_networks_have_their_own_statistics(tmp_path, module):
    data = torch.randn(60, 1, 4, 4), torch.arange(60) % 3
    made = module() if module is Dense else module(width=3, outputs=3)
    run = hf.train(overrides={**FAST, "evaluation.statistics": 20}, module=made, data=data, out=tmp_path / "run")
    few, all_of_them = (
        hf.load(tmp_path / "run", module=made, data=data).sample(2) if changed is None else changed
        for changed in (None, run.sample(2))
    )
    assert all(torch.equal(few.statistics[name], value) for name, value in all_of_them.statistics.items())
    name = next(name for name in few.statistics if name.endswith("running_mean"))
    assert not torch.equal(few.statistics[name][0], few.statistics[name][1])
    gauged = run.sample(2, gauge=True)
    x = torch.randn(9, 1, 4, 4)
    torch.testing.assert_close(gauged.predict(x), few.predict(x), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_more_examples_give_other_statistics(tmp_path):
    settings = {**FAST, "task": "digits"}
    runs = [
        hf.train(
            overrides={**settings, "evaluation.statistics": count}, module=Residual(width=3), out=tmp_path / str(count)
        )
        for count in (50, 500)
    ]
    one, other = (run.sample(1).statistics["stem_norm.running_mean"] for run in runs)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, atol=0.3, rtol=0.3)


@pytest.mark.slow
def test_images_move_in_training_only_and_resume_bit_for_bit(tmp_path):
    settings = {**GENERATED, "trainer.steps": 6, "task.rotation": 20, "task.translation": 1.5}
    plain = hf.train("digits", {**GENERATED, "trainer.steps": 6}, out=tmp_path / "plain")
    whole = hf.train("digits", settings, out=tmp_path / "whole")
    part = hf.train("digits", {**settings, "trainer.stop_after": 3}, out=tmp_path / "part")
    assert not part.finished
    resumed = hf.resume(tmp_path / "part")
    states = [run.experiment.generator.state_dict() for run in (whole, resumed, plain)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())
    validation = [run.experiment.task.data("validation").x for run in (whole, plain)]
    assert torch.equal(*validation)


def test_a_task_of_ones_own_may_vary_its_inputs(tmp_path):
    class Doubled(hf.ClassificationTask):
        name, input_shape, num_outputs = "doubled", (4,), 2
        seen = 0

        def data(self, split):
            return hf.Data(torch.ones(8, 4), torch.arange(8) % 2)

        def augment(self, inputs, rng):
            Doubled.seen += 1
            assert inputs.shape[-1] == 4
            return 2 * inputs

    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    hf.train(overrides=FAST, module=net, data=Doubled(), out=tmp_path / "run")
    assert Doubled.seen == 2


def test_a_module_without_a_spec_must_run(tmp_path):
    with pytest.raises(HyperframeError, match=r"does not run on inputs of shape \(1, 8, 8\)"):
        hf.train("digits", FAST, module=nn.Linear(5, 10), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
