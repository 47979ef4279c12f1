"""How fast a GPU trains, draws and evaluates, as one Markdown page, in at most eight minutes.

    python benchmarks/gpu_speed.py PAGE.md [--device cuda|cpu] [--seconds 470] [--part NAME[,NAME...]] [--tiny]

Each part runs in a process of its own with a limit of its own; what fails, or takes too long, is written into the page
and leaves the other parts alone. Images are random bytes, as many and of the size of the real ones: speed does not
depend on what they show, and no data set is needed. Beside the page lie, in PAGE_profiles/, tables of the kernels that
take most of a step. `--tiny` takes a few small networks and steps, to try the program out; its times mean nothing.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch.profiler import ProfilerActivity, profile

from hyperframe.api import make_registry
from hyperframe.bench.speed import of_training
from hyperframe.bench.speed.clock import Clock
from hyperframe.bench.speed.floor import count, matrix_product_rate
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import Experiment, build_experiment, resolve_device
from hyperframe.experiment.evaluation import draw_networks, evaluate
from hyperframe.networks.sampled import draw_weights
from hyperframe.runs.provenance import processor, revision
from hyperframe.runtime.memory import PeakMemory, keep_freed
from hyperframe.runtime.precision import tf32_products
from hyperframe.runtime.rng import stream
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data

STEPS = 13000
"""Steps of the paper's MNIST training."""

LOGGED = 50
"""Steps between two looks at the metrics, for which the host waits, as a training does."""

WARM_UP = 20
WHOLE = 60.0
"""Seconds that all steps may take to be done, and not some of them."""

DIRECT: dict[str, Any] = {"generator": "direct", "diversity": "none", "gauges": []}
PEAK, MS = "peak of memory, MiB", "ms a step"

Rows = list[dict[str, Any]]


@attrs.frozen(kw_only=True)
class Scale:
    """How much of everything is measured.

    Attributes:
        steps: of a training that is timed.
        seconds: that one training is timed for at the most.
        images: training images.
        networks: that are evaluated.
        drawn: networks that are drawn at a time.
        settings: of every configuration.
        all: True: all precisions and profiles are measured, and not the first of them alone.
    """

    steps: int
    seconds: float
    images: int
    networks: int
    drawn: tuple[int, ...]
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    all: bool = True


FULL = Scale(steps=2000, seconds=15.0, images=50000, networks=200, drawn=(64, 512, 4096))
TINY = Scale(
    steps=4,
    seconds=1.0,
    images=20,
    networks=2,
    drawn=(2,),
    settings={"trainer.networks": 2, "trainer.batch_size": 2, "trainer.threads": 1},
    all=False,
)
PRECISIONS = ("float32", "tf32", "bfloat16")
PROFILED: dict[str, tuple[str, dict[str, Any]]] = {
    "mnist": ("mnist", {}),
    "mnist_without_graph": ("mnist", {"trainer__cuda_graph": False}),
    "resnet32": ("cifar10_resnet32", {}),
}


@attrs.frozen(kw_only=True)
class Bench:
    """The arguments of every part: where it runs, how much of it, and where profiles lie."""

    device: torch.device
    scale: Scale
    profiles: Path
    memory: PeakMemory = attrs.field(factory=PeakMemory)

    def experiment(self, name: str, **settings: Any) -> Experiment:
        """Build a configuration; `trainer__steps=3` sets trainer.steps."""
        chosen = {key.replace("__", "."): value for key, value in settings.items()}
        fixed = {"trainer.device": str(self.device), "trainer.steps": STEPS}
        return build_experiment(load_config(name, {**fixed, **chosen, **self.scale.settings}, make_registry()))

    def images(self, experiment: Experiment, count: int) -> Data:
        """Random images and labels, on the device."""
        rng = torch.Generator().manual_seed(0)
        task = experiment.task
        pixels = torch.randint(256, (count, *task.input_shape), generator=rng, dtype=torch.uint8)
        return Data(pixels, torch.randint(task.num_outputs, (count,), generator=rng)).to(self.device)

    def trainer(self, experiment: Experiment) -> Trainer:
        """Make a trainer on random images."""
        experiment.generator.train()
        return Trainer(experiment, self.images(experiment, self.scale.images))

    def wait(self) -> None:
        """Wait until the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def steps(self, trainer: Trainer, count: int) -> tuple[int, float]:
        """Do so many steps, or as many as the time allows; how many, and the seconds they took."""
        self.wait()
        begun, done = time.perf_counter(), 0
        while done < count and (not done or time.perf_counter() - begun < self.scale.seconds):
            for _ in range(min(LOGGED, count - done)):
                trainer.step()
                done += 1
            trainer.read_metrics()
        self.wait()
        return done, time.perf_counter() - begun

    def begun(self, trainer: Trainer) -> Trainer:
        """Do steps that do not count: libraries are loaded in them, and a CUDA graph is recorded."""
        for _ in range(WARM_UP if self.scale.all else 1):
            trainer.step()
        self.memory.start(self.device)
        return trainer

    def peak(self) -> str:
        """The peak of memory since a training had begun, in MiB."""
        peak = self.memory.peak(self.device)
        return "" if peak is None else f"{peak / 2**20:,.0f}"

    def profile(self, name: str, call: Callable[[], object], times: int = 5) -> str:
        """Write which kernels and operations take most of a call's time; return the file's name."""
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])]
        with profile(activities=kinds) as found:
            for _ in range(times):
                call()
            self.wait()
        by = "self_cuda_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        self.profiles.mkdir(parents=True, exist_ok=True)
        path = self.profiles / f"{name}.txt"
        path.write_text(found.key_averages().table(sort_by=by, row_limit=25), encoding="utf-8")
        return path.name


def mnist(bench: Bench, *, whole: bool = False, **settings: Any) -> Rows:
    """Steps of the configuration `mnist`: all 13,000 where they take a minute at most, else some, scaled."""
    trainer = bench.begun(bench.trainer(bench.experiment("mnist", **settings)))
    done, seconds = bench.steps(trainer, bench.scale.steps)
    left = STEPS - done
    if whole and bench.scale.all and seconds / done * STEPS <= WHOLE:
        patient = attrs.evolve(bench, scale=attrs.evolve(FULL, seconds=WHOLE))
        more, further = patient.steps(trainer, left)
        done, seconds = done + more, seconds + further
    said = f"{done:,} steps" + ("" if done >= STEPS else ", scaled")
    return [
        {
            "trainer": ", ".join(f"{key.removeprefix('trainer__')}={value}" for key, value in settings.items())
            or "as it is",
            MS: f"{1000 * seconds / done:.2f}",
            "13,000 steps, s": f"{seconds / done * STEPS:.1f}",
            "timed": said,
            PEAK: bench.peak(),
        }
    ]


def draw(bench: Bench) -> Rows:
    """Networks of the MNIST target drawn a second: as the library draws them, and more at once."""
    experiment = bench.experiment("mnist")
    generator, rows = experiment.generator.eval(), []
    rng = stream(0, "sample", bench.device)
    clock = Clock(bench.device, bench.memory)
    for at_once in bench.scale.drawn:

        @torch.no_grad()
        def some(at_once: int = at_once) -> object:
            return generator(generator.latent(at_once, rng))

        timing = clock.time(some, 20)
        wall = timing.row()["wall_s"]
        rows.append(
            {"networks at once": f"{at_once:,}", "networks a second": f"{at_once / wall:,.0f}", PEAK: bench.peak()}
        )
    many = bench.scale.drawn[-1]
    wall = clock.time(lambda: draw_weights(generator, many, rng), 5).row()["wall_s"]
    said = f"{many:,}, as `sample` draws them"
    return [*rows, {"networks at once": said, "networks a second": f"{many / wall:,.0f}", PEAK: bench.peak()}]


def resnet32(bench: Bench) -> Rows:
    """A step of ResNet-32 beside the time that its operations take at the rate of a large product."""
    rows = []
    for precision in PRECISIONS if bench.scale.all else PRECISIONS[:1]:
        experiment = bench.experiment("cifar10_resnet32", trainer__precision=precision)
        if precision == "float32":
            # Operations are the same in all precisions, and counted where they are done one network after the other.
            operations = count(
                of_training.step(experiment, bench.images(experiment, bench.scale.images), 0, 0).counted
            )[0]
        trainer = bench.begun(bench.trainer(experiment))
        clock = Clock(bench.device, bench.memory)
        wall = clock.time(trainer.step, 10 if bench.scale.all else 1).row()["wall_s"]
        peak, rate = bench.peak(), product_rate(clock, precision)
        floor = operations / rate
        rows.append(
            {
                "products": precision,
                MS: f"{1000 * wall:.2f}",
                "10¹² operations": f"{operations / 1e12:.3g}",
                "10¹² a second, large product": f"{rate / 1e12:.3g}",
                "floor, ms": f"{1000 * floor:.2f}",
                "against the floor": f"{wall / floor:.2f}",
                PEAK: peak,
            }
        )
    return rows


def product_rate(clock: Clock, precision: str) -> float:
    """Operations a second of a large product in a precision."""
    if precision == "tf32":
        with tf32_products():
            return matrix_product_rate(clock)
    return matrix_product_rate(clock, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def direct(bench: Bench) -> Rows:
    """Ten networks with weights of their own in one training, and ten trainings of one."""
    walls, rows = {}, []
    for networks in (10, 1):
        own = {"trainer__networks": networks, "generator__networks": networks}
        settings = {key: value for key, value in bench.scale.settings.items() if key != "trainer.networks"}
        own_bench = attrs.evolve(bench, scale=attrs.evolve(bench.scale, settings=settings))
        experiment = own_bench.experiment("mnist", **DIRECT, **own)
        trainer = bench.begun(own_bench.trainer(experiment))
        done, seconds = bench.steps(trainer, bench.scale.steps)
        walls[networks] = seconds / done
        rows.append(
            {"networks": networks, MS: f"{1000 * walls[networks]:.2f}", "timed": f"{done:,} steps", PEAK: bench.peak()}
        )
    rows.append(
        {"networks": "ten against ten times one", MS: f"{walls[10] / (10 * walls[1]):.3f}", "timed": "", PEAK: ""}
    )
    return rows


def evaluation(bench: Bench) -> Rows:
    """Two hundred networks of the MNIST target measured on ten thousand images."""
    experiment = bench.experiment("mnist")
    data = bench.images(experiment, bench.scale.images // 5)
    data = Data(data.x, data.y)
    networks = draw_networks(experiment, bench.scale.networks, 0, data)
    timing = Clock(bench.device, bench.memory).time(lambda: evaluate(experiment, networks, data), 3)
    wall = timing.row()["wall_s"]
    return [
        {
            "networks": len(networks),
            "images": f"{len(data):,}",
            "s": f"{wall:.3f}",
            "10⁶ passes a second": f"{len(networks) * len(data) / wall / 1e6:.2f}",
            PEAK: bench.peak(),
        }
    ]


def profiles(bench: Bench) -> Rows:
    """Which kernels a step's time goes to: tables of torch.profiler."""
    rows = []
    for name in PROFILED if bench.scale.all else list(PROFILED)[:1]:
        config, settings = PROFILED[name]
        trainer = bench.begun(bench.trainer(bench.experiment(config, **settings)))
        rows.append({"step of": name, "profile": bench.profile(name, trainer.step, 5 if bench.scale.all else 1)})
    return rows


@attrs.frozen(kw_only=True)
class Part:
    """A part of the page.

    Attributes:
        title: its heading.
        aim: what the project wants to reach.
        seconds: its limit.
        work: measures it, and returns the rows of a table.
    """

    title: str
    aim: str
    seconds: float
    work: Callable[[Bench], Rows]


PARTS = {
    "mnist": Part(
        title="Steps of `mnist`, replayed from a CUDA graph",
        aim="13,000 steps in 30 s",
        seconds=110,
        work=lambda bench: mnist(bench, whole=True),
    ),
    "mnist_tf32": Part(
        title="The same in TF32",
        aim="less than without",
        seconds=45,
        work=lambda bench: mnist(bench, trainer__precision="tf32"),
    ),
    "mnist_bfloat16": Part(
        title="The same in bfloat16",
        aim="less than without",
        seconds=45,
        work=lambda bench: mnist(bench, trainer__precision="bfloat16"),
    ),
    "mnist_without_graph": Part(
        title="The same without a graph",
        aim="none; what the graph is worth",
        seconds=45,
        work=lambda bench: mnist(bench, trainer__cuda_graph=False),
    ),
    "draw": Part(
        title="Networks of the MNIST target, drawn from `mnist`",
        aim="10⁶ a second",
        seconds=40,
        work=draw,
    ),
    "resnet32": Part(
        title="A step of `cifar10_resnet32`, 10 networks on 512 images each",
        aim="at most 4 times the floor",
        seconds=120,
        work=resnet32,
    ),
    "direct": Part(
        title="Ten `direct` networks in one training, and one in each of ten",
        aim="less than 1/5 of the time",
        seconds=60,
        work=direct,
    ),
    "evaluation": Part(
        title="Evaluation of 200 networks of the MNIST target",
        aim="none",
        seconds=40,
        work=evaluation,
    ),
    "profiles": Part(title="Where a step's time goes", aim="none", seconds=60, work=profiles),
}


def as_table(rows: Rows) -> list[str]:
    """Write rows as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(cell) for cell in row.values()] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def conditions(device: torch.device) -> str:
    """Say on what the page was measured."""
    where = [torch.cuda.get_device_name(device) if device.type == "cuda" else processor()]
    where += [f"Python {platform.python_version()}", f"torch {torch.__version__}", f"revision {revision()}"]
    if device.type == "cuda":
        where.append(f"CUDA {torch.version.cuda}")
        program = shutil.which("nvidia-smi")
        if program:
            asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
            found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
            where += [f"driver {line}" for line in found.stdout.splitlines()[:1]]
    return ", ".join(where)


def measured(name: str, arguments: argparse.Namespace, seconds: float) -> tuple[Rows | None, str]:
    """Run a part in a process of its own: its rows, or None and why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "rows.json"
        command = [sys.executable, __file__, str(arguments.page), "--device", arguments.device, "--one", name]
        command += ["--result", str(result), *(["--tiny"] * arguments.tiny)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return None, f"not done after {seconds:.0f} s"
        if ended.returncode or not result.is_file():
            said = ended.stderr.strip().splitlines()
            return None, f"failed: {said[-1] if said else f'exit code {ended.returncode}'}"
        return json.loads(result.read_text(encoding="utf-8")), ""


def page(arguments: argparse.Namespace) -> int:
    """Run the parts, and write the page anew after each; the number of parts that have failed."""
    begun, failed = time.monotonic(), 0
    lines = ["# Speed on a GPU", "", f"{conditions(torch.device(arguments.device))}.", ""]
    lines += ["TRIED OUT WITH TINY SETTINGS: these times mean nothing.", ""] * arguments.tiny
    lines += [
        "Images are random bytes, as many and as large as the real ones. Trainings are timed by a loop that reads "
        f"metrics every {LOGGED} steps, after {WARM_UP} that do not count; all else call by call, medians. n = 1.",
        "",
    ]
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    for name in arguments.part.split(",") if arguments.part else PARTS:
        part, start = PARTS[name], time.monotonic()
        left = arguments.seconds - (start - begun)
        rows, why = measured(name, arguments, min(part.seconds, left)) if left > 0 else (None, "no time was left")
        failed += rows is None
        lines += [f"## {part.title}", "", f"Aim: {part.aim}.", ""]
        lines += [*(as_table(rows) if rows else [f"Not measured: {why}."]), ""]
        arguments.page.write_text("\n".join(lines), encoding="utf-8")
        print(f"{name}: {why or 'measured'}, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{arguments.page}: {failed} of the parts are not measured" if failed else arguments.page)
    return failed


def main(given: list[str] | None = None) -> int:
    """Measure all parts, or, asked by `measured`, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the Markdown page to write")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the program out")
    parser.add_argument("--seconds", type=float, default=470.0, help="for all parts together")
    parser.add_argument("--part", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--tiny", action="store_true", help="small settings; times mean nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    unknown = set((arguments.part or "").split(",")) - {"", *PARTS}
    if unknown:
        parser.error(f"--part: unknown {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --device cpu --tiny tries the program out")
    if arguments.one is None:
        return int(page(arguments) > 0)
    device = resolve_device(arguments.device)
    keep_freed(device)
    scale = TINY if arguments.tiny else FULL
    profiled = arguments.page.with_name(f"{arguments.page.stem}_profiles")
    rows = PARTS[arguments.one].work(Bench(device=device, scale=scale, profiles=profiled))
    arguments.result.write_text(json.dumps(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
