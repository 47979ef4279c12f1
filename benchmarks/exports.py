"""Ensembles as modules and programs beside the library: prints the table of docs/results/exports.md.

    python benchmarks/exports.py [--networks 20] [--repeats 7]

Trains the configuration `digits`, and a perceptron on scikit-learn's breast cancer; draws an ensemble of each, writes
it as programs, and runs all of them on the same examples in one thread. Needs onnx, onnxscript and onnxruntime.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

import hyperframe as hf

EXAMPLES = 1000


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The median CPU time of a call, after two that do not count."""
    taken = []
    for number in range(repeats + 2):
        begun = time.process_time()
        call()
        if number > 1:
            taken.append(time.process_time() - begun)
    return statistics.median(taken)


def rows(name: str, run: hf.Run, x: Tensor, networks: int, repeats: int, folder: Path) -> None:
    """Print the rows of one run."""
    drawn, ensemble = run.sample(networks), run.ensemble(networks)
    expected = drawn.mean(x)
    program_file = run.write_program(folder / f"{name}.pt2", networks)
    onnx_file = run.write_program(folder / f"{name}.onnx", networks)
    program = torch.export.load(program_file).module()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_file, options)
    numbers = x.numpy()
    samples = run.write_samples(folder / f"{name}.safetensors", networks)
    ways: dict[str, tuple[Callable[[], np.ndarray | Tensor], Path | None]] = {
        "`nets.mean(x)`": (lambda: drawn.mean(x), samples),
        "`run.ensemble(n)(x)`": (lambda: ensemble(x), None),
        "`torch.export`": (lambda: program(x)[0], program_file),
        "ONNX Runtime": (lambda: session.run(None, {"x": numbers})[0], onnx_file),
    }
    for way, (call, file) in ways.items():
        far = float((torch.as_tensor(call()) - expected).abs().max())
        size = "" if file is None else f"{file.stat().st_size / 1024:,.0f}"
        print(f"| {name} | {way} | {far:.1e} | {size} | {1e3 * seconds(call, repeats):.1f} |", flush=True)


@torch.no_grad()
def main() -> None:
    """Train, write, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    x, y = load_breast_cancer(return_X_y=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = hf.train("digits", {"trainer.device": "cpu"}, out=folder / "digits")
        net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
        settings = {"trainer.steps": 500, "trainer.device": "cpu"}
        table = hf.train(overrides=settings, module=net, data=(x, y), out=folder / "table")
        print("| ensemble | way | greatest difference | file, KiB | CPU, ms |\n| --- | --- | --- | --- | --- |")
        for label, run in (("digits", digits), ("breast cancer", table)):
            rows(label, run, run.data("train").x[:EXAMPLES], chosen.networks, chosen.repeats, folder)


if __name__ == "__main__":
    main()
