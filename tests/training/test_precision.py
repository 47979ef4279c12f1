"""`trainer.precision`: products in a step are rounded as it says, and nothing else is touched."""

import subprocess
import sys
from contextlib import nullcontext
from functools import cache
from typing import ClassVar

import pytest
import torch
from components import NETWORKS, REGISTRY, make
from modules import learnt
from tiny import PERCEPTRON
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import hyperframe as hf
from hyperframe.bench.speed.timings import benchmark
from hyperframe.config.choices import choose
from hyperframe.config.schema import load_config
from hyperframe.config.sections import Precision
from hyperframe.errors import ConfigError, DeviceError
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.evaluation import draw_networks, evaluate
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.outputs import run_in_training
from hyperframe.experiment.preflight import check_precision
from hyperframe.experiment.targets import make_target, traced_target
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.networks.passes.batching import many_at_once
from hyperframe.networks.target import Target
from hyperframe.runtime.precision import bfloat16_products, tf32_products
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.targets.weights import unpack
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data, DiversityTerm

TARGETS = ("mlp", "digits_cnn", "mnist_cnn", "lenet", "resnet20")
EXAMPLES = 12


class Outputs(DiversityTerm):
    """Looks at outputs, and keeps them."""

    needs = frozenset({"outputs"})

    def __call__(self, inputs):
        self.seen = inputs.outputs.detach()
        return inputs.outputs.var(0).mean()


class Task:
    """A task whose loss keeps what it is given."""

    def __init__(self):
        self.own = make("task", "digits", {})
        self.seen = []

    def loss(self, outputs, labels):
        self.seen.append(outputs.detach())
        return self.own.loss(outputs, labels)

    def score(self, outputs, labels):
        return self.own.score(outputs, labels)


class Products(TorchDispatchMode):
    """Notes what products and convolutions are given."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm", "convolution", "convolution_backward"):
            self.types |= {value.dtype for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@cache
def target_of(name):
    return make_target(choose(REGISTRY, "target", {"name": name}, "target"), (), 0)


@cache
def weights_of(name):
    return redraw(target_of(name).spec, NETWORKS, torch.Generator().manual_seed(0), torch.float32)


def gradient_of(name, precision, chunk):
    """Of a target's loss at the weights of networks that are trained directly; loss, products, outputs."""
    target, draw, term, task = target_of(name), torch.Generator().manual_seed(0), Outputs(), Task()
    generator = make("generator", "direct", {"networks": NETWORKS}, target.spec, task)
    generator.load_state_dict({f"layers.{row}": value for row, value in enumerate(weights_of(name).values())})
    x = torch.randn(NETWORKS, EXAMPLES, *target.spec.input_shape, generator=draw)
    labels = torch.randint(10, (NETWORKS, EXAMPLES), generator=draw)
    loss = BatchLoss(
        make("objective", "trade_off", {}),
        target=target,
        task=task,
        gauge=lambda weights: weights,
        directions=1,
        terms=[WeightedTerm(name="outputs", term=term, weight=-0.1)],
        chunk=chunk,
        precision=precision,
    )
    for _ in range(2):  # in the first one the target is tried out
        generator.zero_grad()
        task.seen.clear()
        with Products() as products:
            found = loss.gradients(
                generator,
                generator.latent(NETWORKS, draw),
                Data(x, labels),
                draw,
                accuracy_weight=1.0,
                shared=Data(x[0], labels[0]),
            )
    gradients = [value.grad for value in generator.parameters()]
    assert {value.dtype for value in gradients} == {torch.float32}
    return (
        float(found["loss"]),
        torch.cat([one.flatten() for one in gradients]),
        products.types,
        [*task.seen, term.seen],
    )


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, NETWORKS])
@pytest.mark.parametrize("name", TARGETS)
def test_bfloat16_gives_nearly_the_loss_and_the_gradient_of_float32(name, chunk):
    """At weights of usual size; where nothing tells images apart yet, 20 layers' rounding moves it more, to 0.97."""
    wanted, direction, exact, _ = gradient_of(name, "float32", chunk)
    loss, gradient, rounded, outputs = gradient_of(name, "bfloat16", chunk)
    assert loss == pytest.approx(wanted, rel=2e-2)
    assert not torch.equal(gradient, direction)
    assert float(torch.cosine_similarity(gradient, direction, 0)) > 0.99
    assert (exact, rounded) == ({torch.float32}, {torch.bfloat16})
    assert len(outputs) == NETWORKS // chunk + 1
    assert {one.dtype for one in outputs} == {torch.float32}


def test_chunks_in_threads_are_rounded_too():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        *_, outputs = gradient_of("mlp", "bfloat16", 1)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, one.bfloat16().float()) for one in outputs)


NORMALISED = {
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm without scale and moments": lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "prelu": lambda: nn.PReLU(4),
}


def drawn(target, networks):
    return unpack(target.spec, redraw(target.spec, networks, torch.Generator().manual_seed(0), target.dtype))


@pytest.mark.parametrize("part", NORMALISED)
def test_many_networks_are_rounded_as_one_is(part):
    """One is rounded by torch.autocast alone; many are taken apart by vmap before that sees them."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), NORMALISED[part](), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    target = traced_target(hf.trace(module, (3, 6, 6)))
    unpacked, x = drawn(target, 3), torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    exact = run_in_training(target, unpacked, x, "float32", shared=True)
    many = run_in_training(target, unpacked, x, "bfloat16", shared=True)
    ones = [
        run_in_training(target, {name: value[[row]] for name, value in unpacked.items()}, x, "bfloat16", shared=True)
        for row in range(3)
    ]
    assert many.dtype == torch.float32
    for one, other in ((many, exact), (torch.cat(ones), exact)):
        assert 0 < float((one - other).norm() / other.norm()) < 0.02


LAYERS = {
    **NORMALISED,
    "layer norm": lambda: nn.LayerNorm([4, 4, 4]),
    "convolution": lambda: nn.Conv2d(4, 4, 3),
    "dense": lambda: nn.Linear(4, 4),
}


@pytest.mark.parametrize("part", LAYERS)
def test_what_many_networks_give_has_the_type_that_one_gives(part):
    """Else all that follows is in single precision, and as slow."""
    module = LAYERS[part]().eval()
    x = torch.randn(3, 8, 4, 4, 4)
    parameters = {name: value.detach().expand(3, *value.shape) for name, value in module.named_parameters()}

    def call(own, examples):
        return functional_call(module, own, (examples,))

    with bfloat16_products(x.device):
        rounded = x.bfloat16()
        one = call({name: value[0] for name, value in parameters.items()}, rounded[0])
        with many_at_once(x.device, forms=False):
            many = torch.vmap(call)(parameters, rounded)
    assert many.dtype == one.dtype == torch.bfloat16


@pytest.mark.parametrize("networks", [1, 3])
def test_a_target_in_double_precision_stays_as_it_is(networks):
    target = make_target(choose(REGISTRY, "target", {"name": "digits_cnn"}, "target"), (), 0).to("cpu", torch.float64)
    x = torch.rand(8, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    leaves = {name: value.requires_grad_() for name, value in drawn(target, networks).items()}
    outputs = run_in_training(target, leaves, x, "bfloat16", shared=True)
    assert torch.equal(outputs, run_in_training(target, leaves, x, "float32", shared=True))
    assert {one.dtype for one in torch.autograd.grad(outputs.sum(), list(leaves.values()))} == {torch.float64}


@pytest.mark.parametrize("networks", [1, 3])
def test_a_target_of_whole_numbers_gets_them(networks):
    tokens = torch.randint(0, 300, (8, 4), generator=torch.Generator().manual_seed(0)).float()  # bfloat16 has not all
    module = nn.Sequential(nn.Embedding(300, 6), nn.Flatten(), nn.Linear(24, 3))
    target = traced_target(hf.trace(module, example=tokens))
    unpacked = drawn(target, networks)
    rounded, exact = (run_in_training(target, unpacked, tokens, one, shared=True) for one in ("bfloat16", "float32"))
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)


def state():
    """Which way products are rounded here."""
    if torch.is_autocast_enabled("cpu"):
        return "bfloat16"
    settings = {torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision}
    return "tf32" if settings == {"tf32"} else "float32"


class Watched(nn.Linear):
    """A layer that notes how it is run, for all its copies."""

    within = False
    seen: ClassVar[set] = set()

    def forward(self, x):
        self.seen.add((Watched.within, torch.is_grad_enabled() or None, state()))
        return super().forward(x)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_evaluations_within_a_training_are_in_single_precision(tmp_path, monkeypatch, small, precision):
    step = Trainer.step

    def watched(self):
        if self.step_count == 1:
            Watched.seen.clear()  # before it the network was tried out
        Watched.within = True
        try:
            step(self)
        finally:
            Watched.within = False

    monkeypatch.setattr(Trainer, "step", watched)
    module = nn.Sequential(nn.Flatten(), Watched(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))
    told = {"tf32": pytest.warns(hf.HyperframeWarning, match=r"tf32 makes no difference on cpu")}
    with told.get(precision, nullcontext()) as notices:
        settings = {**small.settings, "trainer.precision": precision, "evaluation.statistics": 20}
        run = hf.train("digits_hypernetwork", settings, module=module, out=tmp_path / "run")
    run.evaluate(3)
    assert notices is None or len(notices) == 1
    assert Watched.seen == {(True, True, precision), (False, None, "float32")}


def test_what_is_measured_does_not_depend_on_it(small):
    found = []
    for precision in ("float32", "bfloat16"):
        built = build_experiment(
            load_config("digits_hypernetwork", {**small.settings, "trainer.precision": precision}, REGISTRY)
        )
        built.generator.eval()
        data = built.task.data("validation")[:50]
        found.append(evaluate(built, draw_networks(built, 5, 1, built.task.data("train")), data))
    assert found[0] == found[1]


def test_on_a_cpu_tf32_is_float32(small):
    found = []
    for precision in ("float32", "tf32"):
        built = build_experiment(
            load_config("digits_hypernetwork", {**small.settings, "trainer.precision": precision}, REGISTRY)
        )
        trainer = Trainer(built, built.task.data("train"))
        for _ in range(2):
            trainer.step()
        found.append(built.generator.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_torchs_settings_come_back_where_a_step_raises(monkeypatch, small):
    settings = {**small.settings, "trainer.precision": "tf32"}
    built = build_experiment(load_config("digits_hypernetwork", settings, REGISTRY))
    trainer, seen = Trainer(built, built.task.data("train")), []

    def fails(*arguments, **named):
        seen.append(state())
        raise RuntimeError("a component's own")

    monkeypatch.setattr(built.loss, "gradients", fails)
    with pytest.raises(RuntimeError, match="a component's own"):
        trainer.step()
    assert (seen, state()) == (["tf32"], "float32")


OF_TORCH = """
import torch
from torch import backends
from hyperframe.runtime.precision import tf32_products

def settings():
    found = [one.fp32_precision for one in (backends, matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn)]
    for read in (lambda: matmul.allow_tf32, lambda: backends.cudnn.allow_tf32, torch.get_float32_matmul_precision):
        try:
            found.append(read())
        except RuntimeError:
            found.append("mixed")
    return found

matmul = backends.cuda.matmul

def change(number):
    if number == 1:
        matmul.allow_tf32 = backends.cudnn.allow_tf32 = False
    if number == 2:
        matmul.allow_tf32 = backends.cudnn.allow_tf32 = True
    if number == 3:
        torch.set_float32_matmul_precision("medium")
    if number == 4:
        backends.cudnn.conv.fp32_precision = "ieee"  # the older setting cannot be read any more
    if number == 5:
        backends.fp32_precision = "ieee"

for number in range(6):
    change(number)
    before = settings()
    with tf32_products():
        within = settings()
    assert within[1] == within[3] == within[4] == "tf32" and within[5] is within[6] is True, (number, within)
    assert settings() == before, (number, before, settings())
assert "mixed" in before, before
"""


@pytest.mark.slow
def test_whichever_of_torchs_settings_were_made_come_back():
    """In a process of its own, since not all of them can be put back by hand."""
    subprocess.run([sys.executable, "-W", "error", "-c", OF_TORCH], check=True)


def test_other_precisions_are_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"trainer\.precision: .*float32.*tf32.*bfloat16.*float16"):
        load_config("digits", {"trainer.precision": "float16"}, REGISTRY)


class Single(nn.Module):
    """Works in one precision only: torch mixes no others in this operation."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 6), nn.Linear(6, 10)
        self.factors = learnt(6)

    def forward(self, x):
        hidden = self.first(x.flatten(1))
        return self.last(torch.lerp(hidden, 2 * hidden, self.factors))


def test_a_target_that_does_not_run_in_bfloat16_is_named_before_anything_is_written(tmp_path, small):
    settings = {**small.settings, "trainer.precision": "bfloat16"}
    with pytest.raises(ConfigError, match=r"does not run on cpu with trainer\.precision=bfloat16.*dtype"):
        hf.train("digits_hypernetwork", settings, module=Single(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def pretend_bfloat16(monkeypatch, *, native, emulated):
    """Pretend that there is a CUDA device, and how it computes in bfloat16."""
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    supported = lambda including_emulation=True: native or (including_emulation and emulated)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    return torch.device("cuda", 1)


def test_a_gpu_without_bfloat16_is_refused(monkeypatch):
    device = pretend_bfloat16(monkeypatch, native=False, emulated=False)
    with pytest.raises(DeviceError, match=r"trainer\.precision: cuda:1 does not compute in bfloat16.* take float32"):
        check_precision("bfloat16", device)
    check_precision("float32", device)


def test_bfloat16_that_is_emulated_is_told_once(monkeypatch):
    device = pretend_bfloat16(monkeypatch, native=False, emulated=True)
    with pytest.warns(hf.HyperframeWarning, match=r"bfloat16 is emulated on cuda:1") as told:
        check_precision("bfloat16", device)
    assert len(told) == 1


def test_nothing_is_said_where_there_is_bfloat16(monkeypatch, recwarn):
    check_precision("bfloat16", pretend_bfloat16(monkeypatch, native=True, emulated=True))
    check_precision("bfloat16", torch.device("cpu"))
    assert not recwarn.list


def test_a_training_in_bfloat16_on_a_gpu_without_it_writes_nothing(monkeypatch, hyperframe, tmp_path):
    monkeypatch.setattr("hyperframe.experiment.preflight.bfloat16_on", lambda device: "none")
    settings = [f"{key}={value}" for key, value in PERCEPTRON.items()]
    code, _, err = hyperframe("train", "digits", *settings, "trainer.precision=bfloat16", "--out", tmp_path / "run")
    assert code == 2
    assert "hyperframe: trainer.precision: cpu does not compute in bfloat16" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["step", "forward"])
def test_a_benchmark_times_the_precision_that_was_chosen(monkeypatch, what):
    seen, run = set(), Target.run

    def noting(self, *arguments, training=False, **named):
        seen.add((training, state()))
        return run(self, *arguments, training=training, **named)

    config = load_config("digits", {**PERCEPTRON, "trainer.precision": "bfloat16"}, REGISTRY)

    def spied(config):
        built = build_experiment(config)
        monkeypatch.setattr(Target, "run", noting)
        return built

    monkeypatch.setattr("hyperframe.bench.speed.timings.build_experiment", spied)
    benchmark(what, config, repeats=1)
    assert seen == {(True, "bfloat16")}


@pytest.mark.slow
def test_digits_are_learnt_in_bfloat16_as_in_float32(tmp_path):
    settings = {"trainer.device": "cpu", "trainer.steps": 200, "trainer.networks": 8, "trainer.rate": 3e-3}
    accuracies = []
    for precision in Precision.__args__[::2]:
        run = hf.train("digits", {**settings, "trainer.precision": precision}, out=tmp_path / precision)
        accuracies.append(run.evaluate(20)["accuracy"]["mean"])
    assert accuracies[0] > 0.6
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.05)


@pytest.mark.cuda
def test_products_in_tf32_are_rounded_and_others_are_not():
    exact = torch.rand(256, 256, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    images, kernels = exact.view(4, 16, 32, 32), exact[:72].view(128, 16, 3, 3)

    def errors():
        wanted = exact.double() @ exact.double(), torch.conv2d(images.double(), kernels.double())
        found = exact @ exact, torch.conv2d(images, kernels)
        return [float((one - other).norm() / other.norm()) for one, other in zip(found, wanted, strict=True)]

    with tf32_products():
        rounded = errors()
    assert 1e-6 < rounded[0] < 1e-3
    assert rounded[1] < 1e-3  # which algorithm a convolution takes is CUDA's choice
    assert errors()[0] < 1e-6


@pytest.mark.cuda
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_on_cuda_a_step_is_nearly_that_in_float32(precision, graph):
    found = []
    for one in ("float32", precision):
        settings = {
            "trainer.device": "cuda",
            "trainer.networks": NETWORKS,
            "trainer.cuda_graph": graph,
            "trainer.precision": one,
            "diversity": ["weight_entropy", "output_information"],
        }
        built = build_experiment(load_config("digits_hypernetwork", settings, REGISTRY))
        trainer = Trainer(built, built.task.data("train"))
        for _ in range(6):
            trainer.step()
        trainer.check_finite()
        assert (trainer._recorder is not None and trainer._recorder._replay is not None) == graph
        found.append(trainer.read_metrics())
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=0.1, abs=0.05), name
