"""Draw the README's picture from a run: accuracies of generated networks, and samples of one filter slice.

python docs/picture.py RUN docs/images/digits.png
"""

import sys

import matplotlib as mpl

mpl.use("Agg")

import torch
from matplotlib import pyplot as plt

import hyperframe as hf

NETWORKS = 160
SAMPLES = 5


def accuracies(nets: hf.Networks, data: hf.Data) -> tuple[torch.Tensor, float]:
    """Return the accuracy of every network, and of their majority vote, in percent."""
    right = torch.zeros(len(nets))
    for first, first_example, outputs in nets.chunks(data.x):
        labels = data.y[first_example : first_example + outputs.shape[1]]
        right[first : first + outputs.shape[0]] += (outputs.argmax(-1) == labels).sum(1)
    vote = float((nets.vote(data.x) == data.y).float().mean())
    return 100 * right / len(data), 100 * vote


def main(folder: str, picture: str) -> None:
    """Draw the picture of a run."""
    run = hf.load(folder, device="cpu")
    nets, data = run.sample(NETWORKS), run.experiment.task.data("test")
    alone, together = accuracies(nets, data)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    one_item = 100 / len(data)
    bins = torch.arange(float(alone.min()) - one_item / 2, float(alone.max()) + one_item, one_item).numpy()
    counts, _, _ = axes[0].hist(alone.numpy(), bins=bins, color="#4477aa", label=f"{NETWORKS} generated networks")
    axes[0].set_xlim(float(alone.min()) - 2 * one_item, max(together, float(alone.max())) + 2 * one_item)
    axes[0].set_ylim(0, 1.35 * max(counts))  # room for the legend
    axes[0].axvline(together, ymax=0.75, color="#cc3311", label=f"their majority vote, {together:.2f} %")
    axes[0].set(xlabel="test accuracy, %", ylabel="networks", title=f"Accuracy of {NETWORKS} draws")
    axes[0].legend(loc="upper left", frameon=False)
    axes[0].spines[["top", "right"]].set_visible(False)

    layer = run.experiment.target.spec.layers[1]
    kernel = run.experiment.gauge(nets.weights)[layer.name][: SAMPLES**2, 0, :9].view(-1, 3, 3)
    limit = float(kernel.abs().max())
    axes[1].set(title=f"One 3 × 3 slice of a {layer.name} filter,\nin {SAMPLES**2} draws, after the gauge")
    axes[1].axis("off")
    for number, slice_ in enumerate(kernel):
        row, column = divmod(number, SAMPLES)
        place = axes[1].inset_axes([column / SAMPLES, 1 - (row + 1) / SAMPLES, 0.92 / SAMPLES, 0.92 / SAMPLES])
        place.imshow(slice_, cmap="RdBu", vmin=-limit, vmax=limit)
        place.set(xticks=[], yticks=[])
    axes[1].set_aspect("equal")
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
