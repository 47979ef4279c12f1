"""The `hyperframe` command's first lines: what must happen before the library, and torch, are imported.

It is installed as the top-level package `hyperframe_launcher`, so that it still runs where the HTTP/2 framing library
called `hyperframe` has taken the import name.
"""

import importlib.metadata
import os
import sys

from .streams import mend_streams

CLASH = """\
hyperframe: the HTTP/2 framing library 'hyperframe' {version} is installed in this environment ({prefix}).
It owns the import name that this command needs, and the two cannot share an environment. It usually comes with 'h2'.
Fix: install hyperframe-nn into an environment of its own:  python -m venv NEW && NEW/bin/pip install hyperframe-nn
Or remove the other one:  pip uninstall hyperframe && pip install --force-reinstall --no-deps hyperframe-nn"""


def calm_threads() -> None:
    """Tell OpenMP's threads to sleep while they wait, where the user has not said otherwise.

    Beside another busy process spinning threads made single steps take 20 s instead of 0.2 s on two cores. OpenMP reads
    this once, when torch loads it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def main() -> None:
    """Run the command line; exit with 2 and one message where the import name belongs to another library."""
    mend_streams()
    try:
        other = importlib.metadata.version("hyperframe")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        sys.stderr.write(CLASH.format(version=other, prefix=sys.prefix) + "\n")
        sys.exit(2)
    calm_threads()
    try:
        from hyperframe.cli.main import run_command_line

        run_command_line(begin=_prepare_torch)
    except KeyboardInterrupt:  # while the command line is imported
        sys.stderr.write("hyperframe: interrupted\n")
        sys.exit(130)


def _prepare_torch() -> None:
    """Set torch up for a command; help and completions do without it, which takes seconds to import."""
    import torch

    # Before the first parallel operation: threads that torch starts later inherit it. Numbers too small for the normal
    # format make processors many times slower.
    torch.set_flush_denormal(True)
