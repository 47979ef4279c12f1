"""A network with two heads: which of three shapes an image shows, and where its centre is.

`python docs/examples/two_heads.py FOLDER SEED` trains a generator into FOLDER and prints what its networks reach.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import hyperframe as hf

IMAGES, SIDE = 1500, 16
SETTINGS: dict[str, Any] = {
    "generator": {"name": "modes", "modes": 4},
    "task.head_weights": [1.0, 1.0],
    "trainer.networks": 4,
    "trainer.batch_size": 32,
    "trainer.steps": 1500,
    "trainer.threads": 1,
}
"""Over those of the configuration `digits`; what a quick trial changes."""


class ShapeAndPlace(nn.Module):
    """Two convolutions, and a layer for each head: logits of three shapes, and two coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.shape, self.place = nn.Linear(16 * 4 * 4, 3), nn.Linear(16 * 4 * 4, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images [examples, 1, 16, 16] give both heads."""
        features = self.trunk(x)
        return {"shape": self.shape(features), "place": self.place(features)}


def draw(count: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw noisy images of circles, squares and diamonds, with their classes [count] and centres [count, 2]."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.randint(3, (count,), generator=rng)
    centres = 4 + (SIDE - 8) * torch.rand(count, 2, generator=rng)
    radius = 2.5 + 1.5 * torch.rand(count, 1, 1, generator=rng)
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    x, y = (columns - centres[:, :1, None]).abs(), (rows - centres[:, 1:, None]).abs()
    distances = torch.stack([(x.square() + y.square()).sqrt(), torch.maximum(x, y), x + y])
    images = (distances[kinds, torch.arange(count)] < radius).float()
    return (images + 0.3 * torch.randn(images.shape, generator=rng))[:, None], {"shape": kinds, "place": centres}


def main(folder: Path, seed: int) -> dict[str, Any]:
    """Train, evaluate on the test images, and print the metrics of both heads."""
    settings = {**SETTINGS, "trainer.seed": seed}
    run = hf.train("digits", settings, module=ShapeAndPlace(), data=draw(IMAGES, seed=0), out=folder)
    results = run.evaluate()
    for metric in run.experiment.task.metrics:
        print(metric.words("ensemble: {}" if metric.of == "ensemble" else "{}"), metric.text(results))
    answers = run.sample(2).predict(run.data("test").x[:1])
    print({name: tuple(value.shape) for name, value in answers.items()})
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
