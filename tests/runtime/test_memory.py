"""Memory that runs out: chunks are halved, results stay, and where nothing fits the message says what would."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.config.schema import load_config
from hyperframe.errors import MemoryShortageError, TrainingError
from hyperframe.experiment.build import build_experiment
from hyperframe.networks.generator import Generator
from hyperframe.networks.target import Target
from hyperframe.runtime.memory import available_memory, is_out_of_memory, missing_memory
from hyperframe.targets.weights import batch_size, unflatten
from hyperframe.training.trainer import Trainer, _kept_of_network


@pytest.fixture
def limited(monkeypatch):
    """Let the target's pass run out of memory where networks × inputs are more than a limit; list what was tried."""
    run, tried = Target.run, []

    def limit(most, error=torch.OutOfMemoryError):
        def check(self, unpacked, x, *, shared=False, **options):
            images = x.shape[0] if shared else x.shape[1]
            tried.append((batch_size(unpacked), images))
            if batch_size(unpacked) * images > most:
                raise error("DefaultCPUAllocator: can't allocate memory")
            return run(self, unpacked, x, shared=shared, **options)

        monkeypatch.setattr(Target, "run", check)
        return tried

    return limit


@pytest.fixture
def trainer(registry, small):
    def make(**changes):
        settings = {
            **small.settings,
            "trainer.networks": 8,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
        built = build_experiment(load_config("digits_hypernetwork", settings, registry))
        return Trainer(built, built.task.data("train"))

    return make


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_the_chunk_is_halved_until_it_fits_and_the_step_is_the_same(limited, trainer, error):
    free = trainer(trainer__chunk=1)
    free.step()
    short = trainer(trainer__chunk=100)
    tried = limited(3 * 8, error)
    with pytest.warns(hf.HyperframeWarning) as caught:
        short.step()
    messages = [str(warning.message) for warning in caught]
    assert [message.partition(";")[0] for message in messages] == [
        "out of memory: trainer.chunk goes from 8 to 4",
        "out of memory: trainer.chunk goes from 4 to 2",
    ]
    assert tried == [(8, 8), (4, 8), (2, 8), (2, 8), (2, 8), (2, 8)]
    for one, two in zip(free.parameters, short.parameters, strict=True):
        torch.testing.assert_close(one, two)
    assert free.read_metrics() == pytest.approx(short.read_metrics(), rel=1e-4)
    short.step()  # no further warning: the chunk stays small


def test_where_one_network_does_not_fit_the_message_says_what_would(limited, trainer):
    training = trainer(trainer__chunk=2, trainer__batch_size=64)
    tried = limited(20)
    with pytest.warns(hf.HyperframeWarning), pytest.raises(MemoryShortageError) as caught:
        training.step()
    assert tried == [(2, 64), (1, 64), (1, 32), (1, 16)]
    assert "one network of target 'digits_cnn' on trainer.batch_size=64 does not fit" in str(caught.value)
    assert "with trainer.batch_size=16 it does" in str(caught.value)


def test_where_nothing_fits(limited, trainer):
    training = trainer(trainer__chunk=1)
    limited(0)
    with pytest.raises(
        MemoryShortageError, match=r"not even one example does.*A smaller target, or a device with more memory"
    ):
        training.step()


def test_other_errors_are_not_taken_for_it(monkeypatch, trainer):
    def fail(*_, **__):
        raise RuntimeError("shapes differ")

    training = trainer()
    monkeypatch.setattr(Target, "run", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        training.step()
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_a_training_that_runs_out_of_memory_names_the_way_back(tmp_path, small, limited, monkeypatch):
    small(tmp_path / "run", trainer__stop_after=3)
    monkeypatch.setattr(Trainer, "step", lambda self: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(TrainingError, match=r"smaller trainer.networks than 4.*checkpoints/3; .*--resume"):
        hf.resume(tmp_path / "run")


@pytest.mark.slow
def test_an_evaluation_goes_on_in_halves(tmp_path, small, limited):
    run = small(tmp_path / "run")
    wanted, x = run.evaluate(5), run.experiment.task.data("test").x[:30]
    nets = run.sample(5)
    predicted = nets.predict(x)
    tried = limited(7)
    with pytest.warns(hf.HyperframeWarning, match="out of memory") as caught:
        halved = nets.predict(x)
    assert [str(warning.message) for warning in caught] == [
        f"out of memory: at most 1 network on {examples} examples at a time from here on" for examples in (15, 7)
    ]
    torch.testing.assert_close(halved, predicted)
    assert max(networks * examples for networks, examples in tried if networks * examples <= 7) == 7
    with pytest.warns(hf.HyperframeWarning):
        found = run.evaluate(5)
    assert found["accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["ensemble"] == pytest.approx(wanted["ensemble"], rel=1e-5)


@pytest.mark.slow
def test_an_evaluation_of_which_nothing_fits_says_so(tmp_path, small, limited):
    run = small(tmp_path / "run")
    limited(0)
    with (
        pytest.warns(hf.HyperframeWarning),
        pytest.raises(hf.HyperframeError, match="on one example does not fit"),
    ):
        run.evaluate(3)


def test_what_there_is():
    free = available_memory()
    assert free is None or free > 2**20
    if free is not None:
        message = missing_memory(2**60)
        assert "1,099,511,627,776 MiB of memory are needed" in message


REAL = """
import resource, sys, warnings
import torch
import hyperframe as hf
from hyperframe.config.schema import load_config
from hyperframe.api import make_registry
from hyperframe.experiment.build import build_experiment
from hyperframe.training.trainer import Trainer

torch.set_num_threads(1)
settings = {"trainer.device": "cpu", "trainer.networks": 16, "trainer.chunk": 16}
settings["trainer.batch_size"] = int(sys.argv[1])
built = build_experiment(load_config("digits_hypernetwork", {**settings, "target.channels": [64, 64]}, make_registry()))
trainer = Trainer(built, built.task.data("train"))
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20,) * 2)
warnings.simplefilter("always")
try:
    trainer.step()
except hf.HyperframeError as error:
    print(error)
else:
    trainer.check_finite()
    print("chunk", built.loss.chunks.size)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux to limit the memory of a process")
@pytest.mark.parametrize(
    ("images", "mebibytes", "answer"), [(512, 350, "chunk "), (16_384, 300, "with trainer.batch_size=")]
)
def test_a_process_with_little_memory(images, mebibytes, answer):
    command = [sys.executable, "-c", REAL, str(images), str(mebibytes)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "out of memory: trainer.chunk goes from 16 to 8" in ran.stderr
    assert answer in ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_the_limit_of_the_process_counts():
    program = (
        "import resource; from hyperframe.runtime.memory import available_memory, _status; "
        "resource.setrlimit(resource.RLIMIT_AS, (_status('VmSize') + 2**28,) * 2); print(available_memory())"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 2**27 < int(ran.stdout) <= 2**28


def test_a_step_that_cannot_fit_is_refused_before_it_takes_any(tmp_path, small, monkeypatch):
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 2**30)
    with pytest.raises(MemoryShortageError, match=r"a step does not fit into memory: [\d,]+ MiB .* than 1000000, a"):
        small(tmp_path / "run", trainer__networks=10**6)
    assert not (tmp_path / "run").exists()


def test_a_step_whose_generator_cannot_fit_is_refused_before_it_takes_any(tmp_path, monkeypatch):
    """A million networks with 100,000 hidden units each, 400 GB, of which the target has eight weights."""
    monkeypatch.setattr("hyperframe.runtime.memory.available_memory", lambda: 2**36)
    settings = {"trainer.networks": 10**6, "generator": "mlp", "generator.hidden": [100000], "trainer.device": "cpu"}
    with pytest.raises(MemoryShortageError, match=r"a step does not fit into memory: [34]\d\d,\d+ MiB .* are needed"):
        hf.train("toy", settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_a_generator_keeps_of_a_network_is_measured():
    spec = build_experiment(load_config("toy", ["trainer.device=cpu"], make_registry())).target.spec

    class Hidden(Generator):
        def __init__(self):
            super().__init__(spec, dimension=2)
            self.first, self.last = nn.Linear(2, 1000), nn.Linear(1000, spec.num_weights)

        def latent(self, count, rng):
            return torch.randn(count, 2, generator=rng)

        def forward(self, z):
            return unflatten(self.spec, self.last(self.first(z).sigmoid()))

    # z, and the sigmoid's result, which the layer behind it keeps as well.
    assert _kept_of_network(Hidden()) == 4 * (2 + 1000)


@pytest.mark.parametrize(
    ("term", "where"),
    [
        ("weight_entropy", "targets.symmetry.gauge.ComposedGauge.__call__"),
        ("output_entropy", "experiment.loss.BatchLoss.shared_outputs"),
    ],
)
def test_memory_that_runs_out_while_terms_are_tried(tmp_path, small, monkeypatch, term, where):
    def short(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(f"hyperframe.{where}", short)
    with pytest.raises(MemoryShortageError, match=r"out of memory .* Try a smaller trainer.networks than 4"):
        small(tmp_path / "run", diversity=[term])
    assert not (tmp_path / "run").exists()
