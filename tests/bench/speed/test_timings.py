"""The benchmarks: each measures all its ways, counts operations and bytes, and leaves nothing behind."""

import json
import subprocess
import sys
import warnings
from functools import partial

import pytest
import torch
from tiny import GENERATED

import hyperframe as hf
from hyperframe.bench.speed import floor
from hyperframe.bench.speed.floor import count
from hyperframe.bench.speed.of_networks import distances
from hyperframe.bench.speed.timings import BENCHMARKS, benchmark
from hyperframe.bench.speed.work import WAYS, apart, plain
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.experiment.build import build_experiment
from hyperframe.networks.target import Target
from hyperframe.runtime.memory import keep_freed
from hyperframe.targets.weights import batch_size, unpack

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch):
    monkeypatch.setattr(floor, "MATRIX", {"cpu": 32})
    monkeypatch.setattr(floor, "COPIED", {"cpu": 64})


PARTS = {"target.generate": ["out"], "target.weights": True, "trainer.same_examples": True}
"""Of a network the last layer, on examples that all networks see: the layers before it are a trunk."""

NEEDED = {"trunk": PARTS, "gauge": {"gauges": ["scale", "logit_bias"]}}


@pytest.mark.slow
@pytest.mark.parametrize("what", BENCHMARKS)
def test_ways_side_by_side(what, registry):
    threads = torch.get_num_threads()
    config = load_config("digits", {**GENERATED, **NEEDED.get(what, {}), "trainer.threads": 1}, registry)
    content = benchmark(what, config, networks=3, examples=20, repeats=1)
    ways = {"gauge": ["loop"], "trunk": ["apart"], "distances": ["loop", "broadcast"]}.get(what, ["loop", "vmap"])
    assert list(content["ways"]) == ["ours", *ways]
    assert set(content["ways"]) <= set(WAYS)
    assert all(row["wall_s"] > 0 and row["cpu_s"] > 0 for row in content["ways"].values())
    assert content["floor_s"] == content["operations"] / content["matrix_product"]
    assert content["unfused_s"] == content["bytes"] / content["memory_rate"] > 0
    assert torch.get_num_threads() == threads
    json.dumps(content)


@pytest.mark.slow
def test_operations_are_those_of_the_networks(registry):
    """An mlp 64 → 6 → 10 takes 2 · (64 · 6 + 6 · 10) operations an example, forward."""
    settings = {**GENERATED, "target": "mlp", "target.hidden": [6]}
    config = load_config("digits", settings, registry)
    one = 2 * (64 * 6 + 6 * 10)
    assert benchmark("evaluate", config, networks=3, examples=20, repeats=1, alone=True)["operations"] == one * 3 * 20
    assert benchmark("forward", config, repeats=1, alone=True)["operations"] == one * 4 * 8


@torch.no_grad()
def test_a_trunk_runs_once_for_all_networks_or_for_each(registry):
    """Of 4 networks, two at a time, one trunk's operations or four; outputs are the same."""
    experiment = build_experiment(load_config("digits", {**GENERATED, **PARTS}, registry))
    x = torch.rand(8, *experiment.task.input_shape)
    weights = experiment.generator(experiment.generator.latent(4, torch.Generator().manual_seed(0)))
    unpacked = {name: value.detach() for name, value in unpack(experiment.target.spec, weights).items()}
    last = 2 * 8 * unpacked["7.weight"][0].numel()

    def run(target, rows):
        found.append(target.run({key: value[rows] for key, value in unpacked.items()}, x, shared=True, training=True))

    ours = None
    for name, target in {"ours": experiment.target, "apart": apart(experiment), "plain": plain(experiment)}.items():
        found = []
        run(target, slice(1))  # what is found out once does not count
        x = x.clone()  # inputs are known again by the tensor
        operations = sum(count(partial(run, target, rows))[0] for rows in (slice(2), slice(2, 4)))
        outputs = torch.cat(found[1:])
        x = x.clone()
        one = count(partial(run, target, slice(1)))[0]
        assert one > last
        assert operations == (4 * one if name == "apart" else one + 3 * last)
        ours = outputs if ours is None else ours
        torch.testing.assert_close(outputs, ours)


def test_plain_targets_standardise_inputs_too(registry):
    config = load_config("diabetes", {"trainer.device": "cpu"}, registry)
    experiment = build_experiment(config)
    assert experiment.target.inputs is not None
    assert plain(experiment).inputs is apart(experiment).inputs is experiment.target.inputs


def test_distances_are_those_that_the_estimator_names(registry):
    """All ways but ours give the distances themselves, and ours an estimate that follows from them."""
    for metric in ("l1", "l2"):
        settings = {**GENERATED, "entropy": {"name": "kozachenko_leonenko", "distance": metric}}
        experiment = build_experiment(load_config("digits", settings, registry))
        work = distances(experiment, None, 5, 0)
        loop, broadcast = (work.ways[name]() for name in ("loop", "broadcast"))
        torch.testing.assert_close(loop, broadcast)
        nearest = (loop + torch.eye(5) * 1e9).amin(1)
        dimension = min(experiment.generator.dimension, experiment.loss.directions)
        wanted = dimension * nearest.log().mean() + torch.digamma(torch.tensor(5.0))
        torch.testing.assert_close(work.ways["ours"](), wanted, rtol=1e-4, atol=1e-3)


def test_all_differences_are_not_taken_where_they_do_not_fit(registry, monkeypatch):
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 4 * 5 * 5 * 2514 - 1)
    experiment = build_experiment(load_config("digits", GENERATED, registry))
    monkeypatch.setattr("hyperframe.networks.sampled.missing_memory", lambda needed: None)
    with pytest.raises(MemoryShortageError, match="all differences do not fit"):
        distances(experiment, None, 5, 0).ways["broadcast"]()
    assert benchmark("distances", experiment.config, networks=5, repeats=1)["ways"]["broadcast"] is None


@pytest.mark.parametrize(
    ("what", "settings", "message"),
    [
        ("gauge", {"gauges": []}, "gauges is empty, and there is nothing to time"),
        ("distances", {"entropy": "gaussian"}, "entropy 'gaussian' takes no distances between networks"),
        (
            "distances",
            {"entropy": {"name": "kozachenko_leonenko", "neighbour": 3}},
            "needs 4 networks, and there are 3",
        ),
        ("trunk", {}, "target 'digits_cnn' has no trunk: nothing that stays as it is comes before"),
        ("trunk", {**PARTS, "trainer.same_examples": False}, "set trainer.same_examples=true"),
    ],
)
def test_work_that_a_configuration_does_not_have_is_refused(registry, what, settings, message):
    config = load_config("digits", {**GENERATED, **settings}, registry)
    with pytest.raises(ConfigError, match=message):
        benchmark(what, config, networks=3, repeats=1)


@pytest.mark.slow
def test_a_trunk_counts_where_a_term_compares_outputs(registry):
    settings = {**GENERATED, **PARTS, "trainer.same_examples": False, "diversity": ["disagreement"]}
    assert benchmark("trunk", load_config("digits", settings, registry), repeats=1)["ways"]["apart"]["wall_s"] > 0


@pytest.mark.slow
def test_the_command(hyperframe):
    part = ["target.generate=[out]", "target.weights=true", "trainer.same_examples=true"]
    settings = [
        "generator=mlp",
        "generator.hidden=[8]",
        "trainer.networks=4",
        "trainer.batch_size=8",
        "trainer.device=cpu",
    ]
    code, out, _ = hyperframe("bench", "step", *settings, "--repeats", "1")
    assert code == 0
    assert "step of digits (networks 4, batch size 8" in out
    assert "one vmap over all" in out
    code, out, _ = hyperframe("bench", "sample", *settings, "--repeats", "1", "-n", "5", "--alone", "--json")
    assert code == 0
    content = json.loads(out)
    assert content["sizes"] == {"networks": 5}
    assert list(content["ways"]) == ["ours"]
    for wrong, option in ((["step", "-n", "5"], "-n"), (["sample", "--examples", "5"], "--examples")):
        code, _, err = hyperframe("bench", *wrong)
        assert code == 2
        assert f"No such option '{option}'" in err
    code, out, _ = hyperframe("bench", "gauge", *settings, "gauges=[scale]", "--repeats", "1", "-n", "3")
    assert code == 0
    assert "gauge of digits (networks 3)" in out
    assert "one vmap" not in out
    code, out, _ = hyperframe("bench", "distances", *settings, "--repeats", "1", "-n", "3")
    assert code == 0
    assert "all differences at once" in out
    assert "each operation alone, without caches, reads and writes" in out
    code, out, _ = hyperframe("bench", "trunk", *settings, *part, "--repeats", "1")
    assert code == 0
    assert "trunk for each network" in out
    code, _, err = hyperframe("bench", "trunk", *settings)
    assert code == 2
    assert "hyperframe: target 'digits_cnn' has no trunk" in err
    code, _, err = hyperframe("bench", "dance")
    assert code == 2
    assert "No such command 'dance'" in err


@pytest.mark.slow
def test_a_way_that_does_not_fit_is_told_so(registry, monkeypatch):
    run = Target.run

    def limited(self, unpacked, x, **options):
        if batch_size(unpacked) > 2:
            raise torch.OutOfMemoryError
        return run(self, unpacked, x, **options)

    monkeypatch.setattr(Target, "run", limited)
    config = load_config("digits", {**GENERATED, "trainer.chunk": 2}, registry)
    for what in ("step", "forward"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", hf.HyperframeWarning)
            ways = benchmark(what, config, repeats=1)["ways"]
        assert ways["vmap"] is None
        assert ways["ours"]["wall_s"] > 0


@pytest.mark.slow
def test_nothing_random_is_left_changed(registry):
    before = torch.get_rng_state()
    benchmark("step", load_config("digits", GENERATED, registry), repeats=1, alone=True)
    assert torch.equal(torch.get_rng_state(), before)


PEAKS = """
import torch
from hyperframe.runtime.memory import PeakMemory

device, memory = torch.device("cpu"), PeakMemory()
memory.start(device)
torch.ones(16 << 20)  # 64 MiB
print(memory.peak(device))
memory.start(device)
print(memory.peak(device))
"""


@pytest.mark.slow
def test_the_peak_of_memory_is_seen_and_starts_anew():
    """In a process of its own: one that has freed memory before takes the 64 MiB from that."""
    first, second = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True
    ).stdout.split()
    if first == "None":
        pytest.skip("the system does not tell")
    assert int(first) >= 60 << 20
    assert int(second) < 40 << 20


def test_freed_memory_can_be_kept_more_than_once():
    keep_freed(torch.device("cpu"))
    keep_freed(torch.device("cpu"))
    assert float(torch.ones(1 << 20).sum()) == 1 << 20
