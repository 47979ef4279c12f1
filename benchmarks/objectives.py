"""Compare diversity terms at about equal accuracy of single networks: prints the table of docs/results/objectives.md.

    python benchmarks/objectives.py [--steps 1000] [--jobs 2] [--seeds 3] [--terms cosine,variance]

Everything but the term and its weight is as in `digits_hypernetwork`. For each term, with seed 0, a weight is searched
with which the mean accuracy on validation images is that of `weight_entropy` with weight 1, in at most four
trials that change the weight by a factor. With the best one, networks are trained with the other seeds. Results are
measured on the test images, by which nothing was chosen.
"""

import argparse
import json
import math
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

import hyperframe as hf

REFERENCE = "weight_entropy"
START: dict[str, tuple[dict[str, Any], float]] = {
    "weight_entropy": ({}, 1.0),
    "manifold_entropy": ({"networks": 1}, 1.0),
    "variance": ({}, 30.0),
    "pairwise_distance": ({}, 100.0),
    "cosine": ({}, 100.0),
    "kernel_repulsion": ({}, 30.0),
    "output_entropy": ({}, 1.0),
    "disagreement": ({}, 100.0),
    "ensemble_loss": ({}, 1000.0),
}
"""Options of each term, and the weight of its first trial."""

TRIALS, FACTOR, CLOSE = 4, 4.0, 0.003
"""The most trials of a weight, its factor from one to the next, and the difference that counts as equal accuracy."""

EVERYTHING = ("accuracy", "vote", "mean probability", "disagreement, %", "nll", "ensemble nll", "ece", "seconds")


def run(term: str, options: dict[str, Any], weight: float, seed: int, steps: int) -> dict[str, float]:
    """Train and measure; one process of the pool."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "diversity": [{"name": term, "weight": weight, **options}],
            "trainer.steps": steps,
            "trainer.seed": seed,
            "trainer.device": "cpu",
            "evaluation.every": steps,
            "evaluation.networks": 100,
        }
        trained = hf.train("digits_hypernetwork", settings, out=Path(folder) / "run")
        seconds = time.perf_counter() - began
        validation, test = trained.evaluate(split="validation"), trained.evaluate()
    ensemble = test["ensemble"]
    return {
        "validation": validation["accuracy"]["mean"],
        "accuracy": 100 * test["accuracy"]["mean"],
        "vote": 100 * ensemble["majority"],
        "mean probability": 100 * ensemble["mean_probability"],
        "disagreement, %": 100 * ensemble["disagreement"],
        "nll": test["nll"],
        "ensemble nll": ensemble["nll"],
        "ece": 100 * ensemble["ece"],
        "entropy": test["entropy"],
        "seconds": seconds,
    }


def search_weight(term: str, steps: int, seeds: int, wanted: float) -> dict[str, Any]:
    """Search a term's weight with which single networks are about as accurate as wanted; return it with its results."""
    options, weight = START[term]
    trials: list[dict[str, float]] = []
    low, high = 0.0, math.inf  # weights that leave networks too accurate, and not accurate enough
    while len(trials) < TRIALS:
        trials.append({"weight": weight, **run(term, options, weight, 0, steps)})
        gap = trials[-1]["validation"] - wanted
        if abs(gap) <= CLOSE:
            break
        low, high = (weight, high) if gap > 0 else (low, weight)
        between = math.sqrt(low * high) if low and high < math.inf else 0.0
        weight = between or (weight * FACTOR if gap > 0 else weight / FACTOR)
    best = min(trials, key=lambda trial: abs(trial["validation"] - wanted))
    others = [run(term, options, best["weight"], seed, steps) for seed in range(1, seeds)]
    return {"term": term, "weight": best["weight"], "trials": trials, "runs": [best, *others]}


def row(result: dict[str, Any]) -> str:
    """Return a line of the table: mean ± deviation over the seeds."""
    cells = []
    for name in EVERYTHING:
        values = [found[name] for found in result["runs"]]
        digits = 3 if "nll" in name else 0 if name == "seconds" else 2
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
    return f"| `{result['term']}` | {result['weight']:g} | {len(result['trials'])} | " + " | ".join(cells) + " |"


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--terms", default=",".join(START))
    parser.add_argument("--out", type=Path, help="write all trials to this JSON file")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        plain = {
            term: [pool.submit(run, term, {}, 1.0, seed, arguments.steps) for seed in range(arguments.seeds)]
            for term in (REFERENCE, "none")
        }
        wanted = plain[REFERENCE][0].result()["validation"]
        others = [term for term in arguments.terms.split(",") if term != REFERENCE]
        pending = [pool.submit(search_weight, term, arguments.steps, arguments.seeds, wanted) for term in others]
        results: list[dict[str, Any]] = [
            {"term": term, "weight": float(term == REFERENCE), "trials": [], "runs": [one.result() for one in runs]}
            for term, runs in plain.items()
        ]
        results += [one.result() for one in pending]
    print("| term | weight | trials | " + " | ".join(EVERYTHING) + " |")
    print("| --- " * (3 + len(EVERYTHING)) + "|")
    for result in results:
        print(row(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
