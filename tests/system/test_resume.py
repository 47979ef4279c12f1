"""Runs that go on: bit for bit, from the newest checkpoint that is whole, and with what a user changes."""

import json
import shutil

import pytest
import safetensors.torch
import torch
from torch import nn

import hyperframe as hf
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import ConfigError, RunError, TrainingError
from hyperframe.hookspecs import hookimpl
from hyperframe.runs.checkpoints import (
    best_step,
    checkpoint_steps,
    newest_checkpoint,
    read_checkpoint,
    validation_scores,
    write_checkpoint,
)
from hyperframe.runs.folder import claim, is_claimed
from hyperframe.runs.listing import list_runs
from hyperframe.training.reporter import Reporter
from hyperframe.training.trainer import Trainer


class Dropping(nn.Module):
    """Constants that are drawn, dropout, and BatchNorm: all that a target can carry beside its weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("features", torch.randn(64, 16))
        self.norm = nn.BatchNorm1d(16, affine=False)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        return self.out(self.drop(self.norm(x.flatten(1) @ self.features).relu()))


class Noise:
    """A diversity term that draws numbers, and a target with dropout."""

    @hookimpl
    def hyperframe_targets(self):
        layer = hf.targets.LayerSpec(
            name="out", filters=10, params=[hf.targets.kernel("out.weight", "o i"), hf.targets.bias("out.bias")]
        )
        spec = hf.targets.TargetSpec(
            name="dropping", input_shape=(1, 8, 8), num_outputs=10, layers=[layer], logits="out"
        )
        return [hf.Component(name="dropping", factory=lambda options: (Dropping(), spec))]

    @hookimpl
    def hyperframe_diversity_terms(self):
        class Term(hf.types.DiversityTerm):
            needs = frozenset({"flat", "rng"})

            def __call__(self, inputs):
                direction = torch.randn(inputs.flat.shape[1], generator=inputs.rng)
                return -(inputs.flat @ direction).var()

        return [hf.Component(name="noise", factory=lambda options, estimator: Term())]

    @hookimpl
    def hyperframe_generators(self):
        return [hf.Component(name="counting", factory=lambda options, spec, task: Counting(spec))]


class Rounded(torch.optim.Optimizer):
    """Moves by noise that grows with a whole number, too large for single precision, in the state of each parameter."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for value in (value for value in group["params"] if value.grad is not None):
                count = self.state[value].setdefault("count", torch.tensor(2**24 + 1))
                go = self.found_inf == 0
                count += go.long()
                value.add_(group["lr"] * go * (torch.randn_like(value) * (count - 2**24) - value.grad.sign()))


class Counting(hf.Generator):
    """Has an optimiser and steps of its own, and a parameter that never has a gradient."""

    def __init__(self, spec):
        super().__init__(spec, dimension=spec.num_weights)
        self.idle = torch.nn.Parameter(torch.zeros(3))
        self.mean = torch.nn.Parameter(torch.randn(spec.num_weights) / 4)
        self.register_buffer("width", torch.zeros(()))

    def make_optimizer(self, groups, options):
        return Rounded(groups, {"lr": options.rate})

    def before_step(self, step, steps):
        self.width.fill_(step / steps)

    def latent(self, count, rng):
        return torch.randn(count, self.spec.num_weights, generator=rng)

    def forward(self, z):
        return hf.targets.unflatten(self.spec, self.mean + (0.01 + 0.01 * self.width) * z)


@pytest.fixture(scope="module")
def noisy():
    return Registry(make_plugin_manager(extra=[Noise()]))


CASES = {
    "hypernetwork": {},
    "mlp": {"generator": "mlp"},
    "direct": {"generator": "direct", "generator.networks": 4, "diversity": ["none"]},
    "dropout, batch norm, a term that draws": {"target": "dropping", "diversity": ["weight_entropy", "noise"]},
    "outputs that terms compare, with dropout; a subset of samples; λ that rises": {
        "target": "dropping",
        "diversity": ["disagreement", "output_entropy", "ensemble_loss"],
        "entropy.subset": 3,
        "objective.lambda_start": 1.0,
    },
    "probes of the Jacobian, variational": {
        "diversity": [{"name": "manifold_entropy", "exact_up_to": 0, "lanczos": 4}],
        "objective": "vi",
        "gauges": [],
    },
    "averaged tail": {"trainer.average_tail": 0.7, "trainer.schedule": "one_cycle_tail"},
    "an optimiser of the generator's own": {"generator": "counting", "trainer.schedule": "cyclic"},
    "in bfloat16, with outputs that terms compare": {
        "trainer.precision": "bfloat16",
        "diversity": ["weight_entropy", "disagreement"],
    },
    "clipped, one cycle": {"trainer.gradient_clip": 1.0, "trainer.schedule": "one_cycle"},
}


def state(run):
    """All that the last checkpoint holds, and all lines of metrics less what measures time."""
    last = checkpoint_steps(run.folder)[-1]
    found = read_checkpoint(run.folder, last)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("steps_per_second", None)
        line.pop("cpu_seconds_per_step", None)
    return last, {**found.generator(), **found.trainer()}, lines


def assert_equal(run, other):
    (step, tensors, lines), (step_2, tensors_2, lines_2) = state(run), state(other)
    assert step == step_2
    assert tensors.keys() == tensors_2.keys()
    for name, value in tensors.items():
        assert torch.equal(value, tensors_2[name]), name
    assert lines == lines_2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:objective vi")
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_a_run_in_two_parts_is_the_unbroken_run_bit_for_bit(tmp_path, small, noisy, changes):
    settings = {**small.settings, "trainer.steps": 20, "trainer.log_every": 3, "evaluation.every": 8, **changes}
    whole = hf.train("digits_hypernetwork", settings, out=tmp_path / "whole", registry=noisy)
    paused = hf.train(
        "digits_hypernetwork", {**settings, "trainer.stop_after": 10}, out=tmp_path / "parts", registry=noisy
    )
    assert (paused.step, paused.finished) == (10, False)
    torch.manual_seed(123)  # nothing of the caller's may enter
    resumed = hf.resume(tmp_path / "parts", registry=noisy)
    assert (resumed.step, resumed.finished) == (20, True)
    assert_equal(resumed, whole)
    assert hf.load(tmp_path / "parts", device="cpu", registry=noisy).evaluate(3) | {"run": ""} == whole.evaluate(3) | {
        "run": ""
    }


@pytest.mark.slow
def test_a_difference_would_be_seen(tmp_path, small):
    whole = small(tmp_path / "whole", trainer__steps=6)
    other = small(tmp_path / "other", trainer__steps=6, trainer__seed=1)
    with pytest.raises(AssertionError):
        assert_equal(other, whole)


@pytest.mark.slow
def test_a_run_paused_at_every_step_is_the_unbroken_run(tmp_path, small):
    whole = small(tmp_path / "whole")
    small(tmp_path / "parts", trainer__stop_after=1)
    for step in range(2, 7):
        run = hf.resume(tmp_path / "parts", {"trainer.stop_after": 1})
        assert run.step == step
    assert_equal(run, whole)


def test_pauses_are_not_kept(tmp_path, small):
    small(tmp_path / "run", trainer__stop_after=2, trainer__max_seconds=1e6)
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "stop_after: null" in text
    assert "max_seconds: null" in text
    assert hf.resume(tmp_path / "run").finished


def test_a_pause_after_some_seconds(tmp_path, small):
    run = small(tmp_path / "run", trainer__steps=10**6, trainer__max_seconds=1e-9)
    assert (run.step, run.finished) == (1, False)
    assert checkpoint_steps(run.folder) == [1]


@pytest.mark.slow
def test_a_run_that_was_killed_loses_what_came_after_its_last_checkpoint_only(tmp_path, small):
    whole = small(tmp_path / "whole")
    broken = small(tmp_path / "broken")
    shutil.rmtree(broken.folder / "checkpoints" / "6")
    with (broken.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    (broken.folder / "checkpoints" / ".6.partial").mkdir()
    (broken.folder / "checkpoints" / ".6.partial" / "generator.safetensors").write_bytes(b"half")
    assert_equal(hf.resume(broken.folder), whole)
    assert sorted(path.name for path in (broken.folder / "checkpoints").iterdir()) == ["3", "6"]


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew(tmp_path, small):
    whole = small(tmp_path / "whole")
    broken = small(tmp_path / "broken")
    shutil.rmtree(broken.folder / "checkpoints")
    (broken.folder / "provenance.json").unlink()
    with pytest.warns(hf.HyperframeWarning, match="has no checkpoint yet; it starts anew"):
        resumed = hf.resume(broken.folder)
    assert_equal(resumed, whole)
    assert (broken.folder / "provenance.json").is_file()


def damage(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generator.safetensors", "trainer.safetensors", "state.json"])
@pytest.mark.parametrize(
    "how", [damage, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.unlink()]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, small, name, how):
    whole = small(tmp_path / "whole", trainer__steps=8)
    broken = small(tmp_path / "broken", trainer__steps=8)
    how(broken.folder / "checkpoints" / "8" / name)
    with pytest.warns(hf.HyperframeWarning, match=rf"step 8 cannot be used: .*{name}.*falling back to .* step 6"):
        assert hf.load(broken.folder, device="cpu").step == 6
    with pytest.warns(hf.HyperframeWarning, match="falling back to the one of step 6"):
        assert_equal(hf.resume(broken.folder), whole)
    names = sorted(path.name for path in (broken.folder / "checkpoints").iterdir())
    assert names == ["3", "6", "8", "8.damaged"]


def test_where_all_checkpoints_are_damaged_nothing_is_touched(tmp_path, small):
    run = small(tmp_path / "run")
    for step in (3, 6):
        damage(run.folder / "checkpoints" / str(step) / "generator.safetensors")
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    for use in (hf.load, hf.resume):
        with pytest.raises(RunError, match=r"has no checkpoint that is whole: .*step 6 .*step 3"):
            use(run.folder)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_the_last_checkpoints_and_the_best_are_kept(tmp_path, small):
    results = []

    class Results(Reporter):
        def validated(self, step, found):
            results.append((step, found["accuracy"]["mean"]))

    settings = {**small.settings, "trainer.steps": 60, "trainer.checkpoint_every": 4, "trainer.keep_checkpoints": 2}
    run = hf.train("digits_hypernetwork", {**settings, "evaluation.every": 6}, out=tmp_path / "run", reporter=Results())
    best = max(results, key=lambda pair: (pair[1], -pair[0]))[0]
    assert set(checkpoint_steps(run.folder)) == {56, 60} | {best}
    assert best_step(validation_scores(run.folder)) == best
    assert hf.load(run.folder, checkpoint="best").step == best
    assert hf.load(run.folder, checkpoint=56).step == 56
    for wrong, message in (
        (57, r"no whole checkpoint of step 57: .* steps that are kept: .*56, 60"),
        ("beste", "expected last, best or a step, but got 'beste'"),
    ):
        with pytest.raises(RunError, match=message):
            hf.load(run.folder, checkpoint=wrong)


def test_a_new_best_is_saved_wherever_it_comes(tmp_path, small):
    run = small(tmp_path / "run", trainer__steps=5, trainer__checkpoint_every=100, evaluation__every=2)
    assert 2 in checkpoint_steps(run.folder)


@pytest.mark.slow
def test_the_best_is_the_best_after_a_pause_too(tmp_path, small):
    settings = {"trainer__steps": 40, "trainer__keep_checkpoints": 1, "evaluation__every": 5}
    whole = small(tmp_path / "whole", **settings)
    small(tmp_path / "parts", trainer__stop_after=22, **settings)
    parts = hf.resume(tmp_path / "parts")
    assert checkpoint_steps(parts.folder) == checkpoint_steps(whole.folder)
    assert validation_scores(parts.folder) == validation_scores(whole.folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*validations have become worse")
def test_the_best_that_is_damaged_is_passed_over(tmp_path, small):
    run = small(tmp_path / "run", trainer__steps=30, evaluation__every=3)
    found = validation_scores(run.folder)
    damage(run.folder / "checkpoints" / str(best_step(found)) / "generator.safetensors")
    others = {step: score for step, score in found.items() if step != best_step(found)}
    with pytest.warns(hf.HyperframeWarning, match="the best checkpoint, of step .*taking the next best"):
        assert hf.load(run.folder, checkpoint="best").step == best_step(others)


@pytest.mark.slow
def test_more_steps_extend_a_run_and_say_so(tmp_path, small):
    run = small(tmp_path / "run")
    with pytest.warns(hf.HyperframeWarning, match=r"has done 6 steps, which is all; .* trainer.steps=N, extends"):
        assert hf.resume(run.folder).finished
    with pytest.warns(hf.HyperframeWarning, match=r"from step 6 on .*not, bit for bit.*trainer.steps: 6 → 9"):
        assert hf.resume(run.folder, {"trainer.steps": 9}).step == 9
    assert hf.load(run.folder).config.trainer.steps == 9
    resumed = json.loads((run.folder / "provenance.json").read_text())["resumed"]
    assert [(entry["step"], entry["changed"]) for entry in resumed] == [(6, ["trainer.steps: 6 → 9"])]
    with pytest.raises(ConfigError, match=r"trainer.steps=4 is less than the 9 steps that the run has done"):
        hf.resume(run.folder, {"trainer.steps": 4})


@pytest.mark.parametrize(
    "change",
    [
        {"generator.latent": 3},
        {"target": "mlp"},
        {"task": "arrays"},
        {"task.split_seed": 3},
        {"trainer.seed": 5},
        {"generator": "mlp"},
    ],
)
def test_what_a_run_cannot_change(tmp_path, small, change):
    small(tmp_path / "run", trainer__stop_after=2)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=f"a run keeps its {next(iter(change))}"):
        hf.resume(tmp_path / "run", change)
    assert (tmp_path / "run" / "config.yaml").read_text() == before


@pytest.mark.slow
def test_what_does_not_change_the_training_is_not_said_to(tmp_path, small):
    whole = small(tmp_path / "whole")
    small(tmp_path / "run", trainer__stop_after=2)
    run = hf.resume(tmp_path / "run", {"trainer.checkpoint_every": 2, "trainer.device": "cpu"})  # a warning would raise
    assert checkpoint_steps(run.folder) == [3, 4, 6]
    for name, value in whole.experiment.generator.state_dict().items():
        assert torch.equal(value, run.experiment.generator.state_dict()[name])


@pytest.mark.slow
def test_another_precision_is_named(tmp_path, small):
    small(tmp_path / "run", trainer__stop_after=2)
    with pytest.warns(hf.HyperframeWarning, match=r"not, bit for bit.*trainer\.precision: float32 → bfloat16"):
        run = hf.resume(tmp_path / "run", {"trainer.precision": "bfloat16"})
    assert run.experiment.loss.precision == "bfloat16"


@pytest.mark.slow
def test_other_circumstances_are_named(tmp_path, small):
    run = small(tmp_path / "run", trainer__stop_after=2, trainer__threads=None)
    found = read_checkpoint(run.folder, 2)
    environment = {**found.state["environment"], "torch": "1.0", "device": "cuda", "threads": 10**6}
    write_checkpoint(run.folder, 2, found.generator(), found.trainer(), {**found.state, "environment": environment})
    with pytest.warns(hf.HyperframeWarning, match="not, bit for bit") as caught:
        assert hf.resume(run.folder).finished
    message = str(caught[0].message)
    for part in ("torch: 1.0 →", "device: cuda → cpu", "threads: 1000000 →"):
        assert part in message


@pytest.mark.slow
def test_the_number_of_threads_belongs_to_the_run(tmp_path, small):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = small(tmp_path / "run", trainer__stop_after=2, trainer__threads=None)
    finally:
        torch.set_num_threads(before)
    assert read_checkpoint(run.folder, 2).state["environment"]["threads"] == 2
    run = hf.resume(run.folder)
    assert read_checkpoint(run.folder, 6).state["environment"]["threads"] == 2
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_a_folder_is_one_trainings_at_a_time(tmp_path, small):
    small(tmp_path / "run", trainer__stop_after=2)
    assert not is_claimed(tmp_path / "run")
    with claim(tmp_path / "run"):
        assert is_claimed(tmp_path / "run")
        with pytest.raises(RunError, match="another training is at work"):
            hf.resume(tmp_path / "run")
        assert hf.load(tmp_path / "run").step == 2  # reading is free
    assert hf.resume(tmp_path / "run").finished


def test_what_a_killed_start_has_left_is_no_obstacle(tmp_path, small):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / ".config.yaml.partial").write_text("half")
    assert small(folder).finished


def provenance(run, **changes):
    path = run.folder / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("use", [hf.load, hf.resume])
def test_a_run_of_another_version_is_named(tmp_path, small, use):
    run = small(tmp_path / "run", trainer__stop_after=2)
    provenance(run, format=99, versions={"hyperframe-nn": "7.8"})
    with pytest.raises(RunError, match=r"written by a newer version of hyperframe-nn \(7.8, format 99\); this is 0"):
        use(run.folder)
    provenance(run, format=1)
    with pytest.raises(RunError, match="written by an older version"):
        use(run.folder)


def test_plugins_that_are_not_installed_any_more_are_named(tmp_path, small, noisy):
    settings = {**small.settings, "target": "dropping"}
    run = hf.train("digits_hypernetwork", settings, out=tmp_path / "run", registry=noisy)
    used = json.loads((run.folder / "provenance.json").read_text())["components"]
    used = [
        row | {"distribution": "noise-shop", "version": "3.1"} if row["name"] == "dropping" else row for row in used
    ]
    provenance(run, components=used)
    with pytest.raises(RunError, match=r"used components of noise-shop 3\.1, .* here: unknown target 'dropping'"):
        hf.load(run.folder)


@pytest.mark.slow
def test_a_provenance_that_is_damaged_stops_nothing(tmp_path, small):
    run = small(tmp_path / "run", trainer__stop_after=2)
    (run.folder / "provenance.json").write_text("{")
    with pytest.warns(hf.HyperframeWarning, match="provenance.json is damaged"):
        assert hf.load(run.folder).step == 2
    with pytest.warns(hf.HyperframeWarning, match="provenance.json is damaged"):
        assert hf.resume(run.folder).finished
    assert json.loads((run.folder / "provenance.json").read_text())["seed"] == 0
    assert json.loads((run.folder / "provenance.json").read_text())["resumed"][0]["step"] == 2


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_way_back(tmp_path, small):
    settings = {"trainer__steps": 40, "generator__batch_norm": False, "trainer__log_every": 1}
    small(tmp_path / "run", trainer__stop_after=3, **settings)
    good = read_checkpoint(tmp_path / "run", 3).generator()
    with pytest.warns(hf.HyperframeWarning), pytest.raises(TrainingError) as caught:
        hf.resume(tmp_path / "run", {"trainer.rate": 1e30})
    message = str(caught.value)
    for part in ("not finite in step", "trainer.rate", "checkpoints/3", "train --resume"):
        assert part in message
    assert newest_checkpoint(tmp_path / "run").step == 3
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert "not finite" in json.loads(lines[-1])["failed"]
    assert all(
        torch.equal(value, good[name]) for name, value in read_checkpoint(tmp_path / "run", 3).generator().items()
    )
    with pytest.warns(hf.HyperframeWarning):
        assert hf.resume(tmp_path / "run", {"trainer.rate": 1e-3}).finished
    assert "failed" not in (tmp_path / "run" / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_named(tmp_path, small):
    run = small(tmp_path / "run", trainer__stop_after=2)
    found = read_checkpoint(run.folder, 2)
    rest, originals = found.state, (found.generator(), found.trainer())
    for change, message in (
        (lambda g, t: t.pop("random.latent"), "KeyError: 'random.latent'"),
        (lambda g, t: t.update({"optimizer.0.exp_avg": torch.zeros(3)}), r"'optimizer.0.exp_avg' has shape \[3\]"),
        (lambda g, t: t.pop("optimizer.0.exp_avg"), "state of parameter 0 holds exp_avg_sq, step"),
        (
            lambda g, t: t.update({"optimizer.0.exp_avg": t["optimizer.0.exp_avg"].double()}),
            "is torch.float64, should be",
        ),
        (lambda g, t: t.update({"metrics.loss": torch.zeros(3)}), "sums of metrics must be single numbers"),
        (lambda g, t: t.update({"optimizer.999.step": torch.zeros(())}), "does not fit"),
        (lambda g, t: t.update({"random.latent": torch.zeros(3, dtype=torch.uint8)}), "does not fit"),
        (lambda g, t: g.popitem(), "is missing"),
        (lambda g, t: g.update({"more": torch.zeros(1)}), "'more' is not known"),
    ):
        generator, trainer = map(dict, originals)
        change(generator, trainer)
        write_checkpoint(run.folder, 2, generator, trainer, rest)
        with pytest.raises(RunError, match=message):
            hf.resume(run.folder)
    write_checkpoint(run.folder, 2, *originals, rest)
    assert hf.resume(run.folder).finished


@pytest.mark.slow
def test_a_checkpoint_that_was_renamed_is_no_other_steps(tmp_path, small):
    run = small(tmp_path / "run")
    (run.folder / "checkpoints" / "6").rename(run.folder / "checkpoints" / "700")
    with pytest.warns(hf.HyperframeWarning, match="step 700 cannot be used: .*of step 6; the folder was renamed"):
        assert hf.load(run.folder).step == 3


@pytest.mark.slow
def test_a_run_can_be_moved(tmp_path, small, monkeypatch):
    whole = small(tmp_path / "whole")
    small(tmp_path / "run", trainer__stop_after=3)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "run", tmp_path / "elsewhere" / "run")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert_equal(hf.resume("run"), whole)


@pytest.mark.slow
def test_the_number_of_steps_that_are_done_ends_a_run(tmp_path, small):
    small(tmp_path / "run", trainer__stop_after=4)
    with pytest.warns(hf.HyperframeWarning, match="has done 4 steps, which is all"):
        assert hf.resume(tmp_path / "run", {"trainer.steps": 4}).finished
    assert hf.load(tmp_path / "run").finished


def test_other_data_is_said_to_be_other(tmp_path, small):
    x, y = torch.rand(60, 5), torch.arange(60) % 3
    settings = {**small.settings, "target": "mlp", "target.input_shape": [5], "target.outputs": 3}
    hf.train("digits_hypernetwork", {**settings, "trainer.stop_after": 3}, data=(x, y), out=tmp_path / "run")
    with pytest.warns(
        hf.HyperframeWarning, match=r"not, bit for bit.*data\.train: \w+ → \w+; data\.validation: \w+ → \w+"
    ):
        hf.resume(tmp_path / "run", data=(x + 1, y))


@pytest.mark.slow
def test_another_module_of_the_same_shapes_is_refused(tmp_path, small):
    def own(op):
        layers = [
            hf.targets.LayerSpec(
                name="in",
                filters=8,
                writes=["hidden"],
                params=[hf.targets.kernel("1.weight", "o i"), hf.targets.bias("1.bias")],
            ),
            hf.targets.LayerSpec(
                name="out",
                filters=10,
                reads=["hidden"],
                params=[hf.targets.kernel("3.weight", "o i"), hf.targets.bias("3.bias")],
            ),
        ]
        units = [hf.targets.UnitSpec(name="hidden", size=8, ops=[op])]
        spec = hf.targets.TargetSpec(name="own", input_shape=(1, 8, 8), num_outputs=10, layers=layers, units=units)
        activation = nn.ReLU() if op == "relu" else nn.Tanh()
        return {"module": nn.Sequential(nn.Flatten(), nn.Linear(64, 8), activation, nn.Linear(8, 10)), "spec": spec}

    hf.train("digits_hypernetwork", {**small.settings, "trainer.stop_after": 3}, out=tmp_path / "run", **own("relu"))
    for use in (hf.load, hf.resume):
        with pytest.raises(RunError, match=r"was trained with another target: .*relu.* and not .*tanh"):
            use(tmp_path / "run", **own("tanh"))
    assert hf.resume(tmp_path / "run", **own("relu")).finished


@pytest.mark.slow
def test_a_chunk_that_was_halved_stays_so(tmp_path, small):
    small(tmp_path / "run", trainer__stop_after=2)
    found = read_checkpoint(tmp_path / "run", 2)
    assert found.state["halved_chunk"] is None  # what follows from the device is found anew
    assert found.state["sequential_chunks"] is False
    state = {**found.state, "halved_chunk": 3, "sequential_chunks": True}
    write_checkpoint(tmp_path / "run", 2, found.generator(), found.trainer(), state)
    chunks = hf.resume(tmp_path / "run").experiment.loss.chunks
    assert (chunks.size, chunks.halved, chunks.sequential) == (3, 3, True)


def test_a_validation_score_that_is_no_number_is_none(tmp_path, small, monkeypatch):
    monkeypatch.setattr("hyperframe.training.loop.validation_score", lambda metrics, results: float("nan"))
    run = small(tmp_path / "run")
    assert validation_scores(run.folder) == {}
    assert checkpoint_steps(run.folder) == [3, 6]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*validations have become worse")
def test_a_best_checkpoint_that_is_damaged_is_set_aside_on_resume(tmp_path, small):
    small(tmp_path / "run", trainer__steps=30, evaluation__every=3, trainer__stop_after=20)
    best = best_step(validation_scores(tmp_path / "run"))
    damage(tmp_path / "run" / "checkpoints" / str(best) / "generator.safetensors")
    if best == checkpoint_steps(tmp_path / "run")[-1]:
        with pytest.warns(hf.HyperframeWarning):
            hf.resume(tmp_path / "run")
    else:
        hf.resume(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / f"{best}.damaged").is_dir()


def test_a_run_is_loaded_where_there_are_fewer_cores(tmp_path, small):
    run = small(tmp_path / "run", trainer__threads=1)
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace("threads: 1", "threads: 100000"))
    assert hf.load(run.folder).evaluate(3)["networks"] == 3


@pytest.mark.slow
def test_a_failure_right_after_a_checkpoint_is_forgotten_on_resume(tmp_path, small, monkeypatch):
    small(tmp_path / "run", trainer__stop_after=3)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", lambda self: (_ for _ in ()).throw(torch.OutOfMemoryError()))
        with pytest.raises(TrainingError):
            hf.resume(tmp_path / "run")
    assert list_runs(tmp_path / "run")[0]["state"] == "failed"
    hf.resume(tmp_path / "run", {"trainer.stop_after": 1})
    assert list_runs(tmp_path / "run")[0]["state"] == "paused"


def test_tensorboard_that_cannot_write_stops_nothing(tmp_path, small, monkeypatch):
    writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(writer, "add_scalar", full)
    with pytest.warns(hf.HyperframeWarning, match="TensorBoard's files are not written any more: no space left"):
        assert small(tmp_path / "run").finished


@pytest.mark.cuda
def test_a_run_goes_on_on_cuda(tmp_path, small):
    settings = {"trainer__device": "cuda", "trainer__steps": 8}
    whole = small(tmp_path / "whole", **settings)
    small(tmp_path / "parts", trainer__stop_after=3, **settings)
    parts = hf.resume(tmp_path / "parts")
    for (name, one), other in zip(state(whole)[1].items(), state(parts)[1].values(), strict=True):
        if name.startswith("random"):
            assert torch.equal(one, other), name
        else:
            torch.testing.assert_close(one, other, msg=name)
    small(tmp_path / "moved", trainer__stop_after=3, **settings)
    with pytest.warns(hf.HyperframeWarning, match="device: cuda → cpu"):
        assert hf.resume(tmp_path / "moved", {"trainer.device": "cpu"}).finished


def test_files_of_a_checkpoint_are_readable_alone(tmp_path, small):
    run = small(tmp_path / "run")
    state = safetensors.torch.load_file(run.folder / "checkpoints" / "6" / "generator.safetensors")
    run.experiment.generator.load_state_dict(state)


def test_tensorboard_has_what_the_metrics_have(tmp_path, small):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small(tmp_path / "run", trainer__stop_after=3)
    run = hf.resume(tmp_path / "run")
    board = EventAccumulator(str(run.folder / "tensorboard"))
    board.Reload()
    shown = {event.step: event.value for event in board.Scalars("train/loss")}
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert shown == {line["step"]: pytest.approx(line["loss"]) for line in lines if "loss" in line}
    assert [event.step for event in board.Scalars("validation/accuracy/mean")] == [3, 6]


def test_without_tensorboard_nothing_is_missed(tmp_path, small, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run = small(tmp_path / "run")
    assert not (run.folder / "tensorboard").exists()
    assert (run.folder / "metrics.jsonl").is_file()
