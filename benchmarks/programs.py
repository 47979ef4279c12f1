"""Trace random networks and count wrong claims: `python benchmarks/programs.py [COUNT [FIRST]]`.

The networks are those of `tests/random_programs.py`, with 1 to 13 operations, for the seeds from FIRST on. The claims
that tracing makes of each are tested without its own self-check, as in `tests/targets/tracing/test_programs.py`. A
network without claims, or whose outputs change by rounding alone, says nothing about wrong claims.
"""

import sys
from collections import Counter
from pathlib import Path

from hyperframe.errors import SpecError
from hyperframe.targets.symmetry.orbits import KINDS, orbits
from hyperframe.targets.tracing.tracer import trace


def main() -> None:
    """Print what is wrong as it is found, then all counts."""
    tests = Path(__file__).parent.parent / "tests"
    sys.path[:0] = [str(tests), str(tests / "targets" / "tracing")]
    from random_programs import Program  # noqa: PLC0415 (tests are no package)
    from test_programs import wrong_kinds  # noqa: PLC0415

    count, first = (int(given) for given in [*sys.argv[1:], *["2000", "100000"][len(sys.argv) - 1 :]])
    found: Counter[str] = Counter()
    for seed in range(first, first + count):
        program = Program(seed, steps=1 + seed % 13)
        try:
            traced = trace(program, program.input_shape)
        except SpecError:
            found["refused, since the outputs depend on nothing"] += 1
            continue
        except Exception as error:  # noqa: BLE001 (whatever it is, it is a defect)
            found["crashed"] += 1
            print(f"crashed at seed {seed}: {type(error).__name__}: {error}", flush=True)
            continue
        found["traced"] += 1
        counts = orbits(traced.structure, shift_invariant=True).counts
        for kind in (kind for kind in KINDS if counts[kind]):
            found[f"with {kind}"] += 1
        if any(entry.op == "self-check" for entry in traced.frozen):
            found["with something that the self-check froze"] += 1
        wrong, told = wrong_kinds(program, traced.structure)
        found["that told something"] += told > 0
        if wrong:
            found["with a wrong claim"] += 1
            print(f"wrong at seed {seed}: {', '.join(sorted(wrong))}\n{program}", flush=True)
    print("| networks | number |\n| --- | --- |")
    for what in ("crashed", "with a wrong claim"):
        found[what] += 0
    for what, number in found.items():
        print(f"| {what} | {number:,} |")


if __name__ == "__main__":
    main()
