"""Commands of hyperframe in processes of their own, several at a time; a signal lets all of them save and stop."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hyperframe.runtime.files import writing

PROGRAM = "import hyperframe_launcher; hyperframe_launcher.main()"
"""The command as it is installed, found where this process runs, whatever is on the path."""

ASK = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""Asks a training to save and stop. It may come again: schedulers send signals to all processes of a job."""

WAIT = 0.1
"""Seconds between two looks at processes."""

LONGEST_REASON = 300


def run_commands(
    commands: Mapping[str, Sequence[str]], logs: Path, jobs: int, ended: Callable[[str, str | None], None]
) -> None:
    """Run commands, so many at a time, until all have ended; what one does leaves the others alone.

    Args:
        commands: for each name the arguments of `hyperframe`.
        logs: a folder, in which `NAME.txt` has what a command says on standard error.
        jobs: how many run at a time.
        ended: is called with a command's name when it has ended, and with the reason where it has failed.

    Raises:
        KeyboardInterrupt: Ctrl-C, or what else the main thread is stopped by; all commands have saved and ended.
    """
    waiting, running = list(commands), dict[str, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running[name] = _start(commands[name], logs / f"{name}.txt")
            for name in [name for name, process in running.items() if process.poll() is not None]:
                ended(name, _reason(running.pop(name).returncode, logs / f"{name}.txt"))
            time.sleep(WAIT)
    finally:
        _stop(running.values())


def _start(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, which the terminal's Ctrl-C does not reach."""
    with writing(log), log.open("wb") as file:
        # -P: modules of the current folder must not hide others, as they do not for the installed command.
        return subprocess.Popen(  # noqa: S603  (no shell reads them)
            [sys.executable, "-P", "-c", PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )


def _stop(processes: Iterable["subprocess.Popen[bytes]"]) -> None:
    """Let processes save, and wait until they have ended; a second Ctrl-C ends them at once."""
    for process in processes:
        process.send_signal(ASK)
    while any(process.poll() is None for process in processes):
        try:
            time.sleep(WAIT)
        except KeyboardInterrupt:
            for process in processes:
                process.kill()


def _reason(code: int, log: Path) -> str | None:
    """Why a command has failed: the last message that it gave; None where it has not."""
    if code == 0:
        return None
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    text = log.read_text(encoding="utf-8", errors="replace")
    said = " ".join(text.rpartition("hyperframe: ")[2].split())
    return said[:LONGEST_REASON] or f"exit code {code}"
