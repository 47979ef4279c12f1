"""Trace networks of torchvision, and test what tracing claims: `python benchmarks/zoo.py [NAME[@SIZE]…]`.

It prints a table. For each network: CPU seconds of tracing, directions of each kind, blocks of units that change places
as wholes, sets of units that any invertible matrix may mix, whether powers of two keep outputs bit for bit, by how much
a permutation changes them, and in how many draws an action that leaves out one reader or writer is caught. Images are
of SIZE × SIZE pixels, 32 where it is not given.
"""

import sys
import time
from collections import Counter

import attrs
import torch

from hyperframe.api import make_registry
from hyperframe.targets.symmetry.exact import exact_copy, redraw, run_exactly
from hyperframe.targets.symmetry.orbits import Orbits, apply_action, orbits, random_action
from hyperframe.targets.tracing.tracer import Traced

NETWORKS = (
    *("resnet18", "vgg11_bn", "densenet121", "shufflenet_v2_x0_5", "mobilenet_v3_small", "efficientnet_b0"),
    *("squeezenet1_1", "convnext_tiny", "regnet_y_400mf", "mnasnet0_5", "googlenet", "resnext50_32x4d"),
    *("vit_b_16", "swin_t", "swin_v2_t", "maxvit_t@224", "inception_v3@75"),
)
IMAGES, LEFT_OUT = 12, 24


def main() -> None:
    """Print a row for each network."""
    component = make_registry().get("target", "torchvision").component
    print("| network | tracing, s | free factors | signs | units | taken away | signs before norms | frozen |", end="")
    print(" blocks | linear sets | equal bit for bit | permutation moves | forgotten, caught |")
    print("|" + " --- |" * 13)
    for network in sys.argv[1:] or NETWORKS:
        name, _, size = network.partition("@")
        torch.manual_seed(0)
        started = time.process_time()
        traced = component.factory(component.options(model=name, image_size=int(size or 32)))
        seconds = time.process_time() - started
        of = orbits(traced.structure, shift_invariant=True)
        kinds = ("scaling", "sign", "permutation", "normalisation", "norm_sign")
        results = " | ".join(f"{of.counts[kind]:,}" for kind in kinds)
        sets = Counter(map(len, traced.structure.linear))
        mixed = ", ".join(f"{count} of {size}" for size, count in sorted(sets.items())) or "0"
        moving = sum(map(len, traced.structure.blocks))
        row = f"{seconds:.1f} | {results} | {len(traced.frozen)} | {moving} | {mixed} | {_try(traced, of)}"
        print(f"| {name} | {row} |", flush=True)


def _try(traced: Traced, of: Orbits) -> str:
    """Test the claims of one traced network; return the last three columns of its row."""
    rng = torch.Generator().manual_seed(0)
    copy, weights = exact_copy(traced.module), redraw(traced.spec, 1, rng)
    inputs = torch.randn(IMAGES, *traced.spec.input_shape, generator=rng, dtype=torch.float64)
    before = run_exactly(copy, traced.spec, weights, inputs)

    def moved(by: Orbits, kinds: list[str]) -> torch.Tensor:
        action = random_action(by, 1, rng, kinds=kinds)
        factors = action.factors[:, of.scaling.labels]
        if "scaling" in kinds:  # no factor that changes nothing
            action.factors[:, of.scaling.labels] = factors.where(factors != 1, 4.0)
        return run_exactly(copy, traced.spec, apply_action(by, action, weights), inputs)

    equal = torch.equal(before, moved(of, ["scaling", "sign", "norm_sign"]))
    permuted = float((moved(of, ["permutation"]) - before).abs().max() / before.abs().max())
    # What a scale and shift write and a depthwise kernel's normalisation takes away has no reader to be forgotten.
    free = set(of.scaling.labels.tolist()) - of.structure.absorbed
    owner = {param.parameter: layer.name for layer in traced.spec.layers for param in layer.params}
    parts: dict[tuple[str, int], set[int]] = {}  # what a layer writes with, and what it reads with
    for number, axis in enumerate(of.structure.axes):
        if axis.exponent and free & set(axis.scaling):
            parts.setdefault((owner[axis.parameter], axis.exponent), set()).add(number)
    caught = chosen = 0
    for place in torch.randperm(len(parts), generator=rng)[:LEFT_OUT].tolist():
        left_out = list(parts.values())[place]
        kept = tuple(axis for number, axis in enumerate(of.structure.axes) if number not in left_out)
        broken = attrs.evolve(of, structure=attrs.evolve(of.structure, axes=kept))
        caught += float((moved(broken, ["scaling"]) - before).abs().max() / before.abs().max()) > 1e-6
        chosen += 1
    return f"{'yes' if equal else 'no'} | {permuted:.0e} | {caught} of {chosen}"


if __name__ == "__main__":
    main()
