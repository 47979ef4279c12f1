"""Traced modules whose symmetries are tried: what was traced, and how far random actions move the outputs."""

import torch

from hyperframe.targets.symmetry.exact import exact_copy, redraw, run_exactly
from hyperframe.targets.symmetry.orbits import KINDS, apply_action, orbits, random_action
from hyperframe.targets.tracing.tracer import trace

EXACT_KINDS = ("scaling", "sign", "norm_sign")
"""Kinds whose actions are powers of two or signs, which outputs survive bit for bit."""


def case(module, shape, seed=0, networks=1):
    """Return a traced module, its symmetries, a copy to run, weights and inputs."""
    traced = trace(module, shape, "net")
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(12, *shape, generator=rng, dtype=torch.float64)
    weights = redraw(traced.spec, networks, rng)
    return traced, orbits(traced.structure, shift_invariant=True), exact_copy(module), weights, inputs


def change_of(of, copy, spec, weights, inputs, action):
    """Return how far an action moves centred outputs, relative to the largest; and whether they stay bit for bit."""
    before = run_exactly(copy, spec, weights, inputs)
    after = run_exactly(copy, spec, apply_action(of, action, weights), inputs)
    change = before - after
    if action.shift is not None:
        change = change - change.mean(-1, keepdim=True)
    assert before.isfinite().all()
    return float(change.abs().max() / before.abs().max()), torch.equal(before, after)


def check_symmetries(traced, of, copy, weights, inputs, seed):
    for kind in KINDS:
        action = random_action(of, 1, torch.Generator().manual_seed(seed), kinds=[kind])
        change, same = change_of(of, copy, traced.spec, weights, inputs, action)
        assert change < 1e-9, kind
        assert same or kind not in EXACT_KINDS, kind
