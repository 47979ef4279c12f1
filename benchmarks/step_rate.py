"""Steps a second of recipes: `python benchmarks/step_rate.py CONFIG RECIPE... [KEY=VALUE...]`.

On a CUDA device each is measured with and without a CUDA graph, one after the other. RECIPE is a name in
`ensemble_recipes.py`; "hypernetwork" is the configuration as it is.
"""

import argparse
import time

import torch
from ensemble_recipes import RECIPES

from hyperframe.api import make_registry
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.preflight import load_data
from hyperframe.training.loop import cpu_threads
from hyperframe.training.trainer import Trainer

UNCOUNTED, AT_ONCE, SECONDS = 20, 50, 5.0
"""Steps before those that count, steps between two waits for the device, and about how long is measured."""


def steps_per_second(config: str, settings: dict[str, object]) -> float:
    """Build an experiment, and do as many steps as a few seconds hold."""
    experiment = build_experiment(load_config(config, settings, make_registry()))
    with cpu_threads(1):
        trainer = Trainer(experiment, load_data(experiment.task, "train"))
        do_steps(trainer, UNCOUNTED)
        began = time.perf_counter()
        count = 0
        while time.perf_counter() - began < SECONDS:
            do_steps(trainer, AT_ONCE)
            count += AT_ONCE
        return count / (time.perf_counter() - began)


def do_steps(trainer: Trainer, count: int) -> None:
    """Do so many steps, and wait until they are done."""
    for _ in range(count):
        trainer.step()
    trainer.check_finite()


def main() -> None:
    """Print a row for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("recipes", nargs="+", metavar="RECIPE|KEY=VALUE")
    chosen = parser.parse_args()
    changes = dict(one.split("=", 1) for one in chosen.recipes if one not in RECIPES)
    print(f"{chosen.config}, torch {torch.__version__}")
    print("| recipe | steps a second | without a CUDA graph | ratio |")
    print("| --- | --- | --- | --- |")
    for name in (one for one in chosen.recipes if one in RECIPES):
        recipe = RECIPES[name]
        own = {} if recipe.networks is None else {"trainer.networks": recipe.networks}
        settings = {**recipe.settings, **own, **changes}
        graph = steps_per_second(chosen.config, settings)
        if torch.cuda.is_available():
            plain = steps_per_second(chosen.config, {**settings, "trainer.cuda_graph": False})
            print(f"| {name} | {graph:.0f} | {plain:.0f} | {graph / plain:.1f} |", flush=True)
        else:
            print(f"| {name} | {graph:.1f} | – | – |", flush=True)


if __name__ == "__main__":
    main()
