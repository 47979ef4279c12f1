"""Standard streams that nothing a command says can break on: closed ones, old encodings, a terminal that is gone."""

import io
import os
import sys


def mend_streams() -> None:
    r"""Make standard output and error take any text, and standard error any time.

    What is closed (`2>&-`) is opened on nothing: else the next file that is opened would get its number, and torch's
    messages would be written into it. What an encoding lacks is written as its number, such as `\u2192`; in a file
    that is not UTF-8 all that is not ASCII is, so that it reads the same everywhere. Messages that cannot be written
    (the terminal was closed, a disk is full) are lost, and not the training that has them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        kept = sys.stdout.encoding.lower().startswith("utf") or sys.stdout.isatty()
        sys.stdout.reconfigure(encoding=None if kept else "ascii", errors="backslashreplace")
    if os.name == "posix" and (sys.stderr is None or isinstance(sys.stderr, io.TextIOWrapper)):
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        messages = io.BufferedWriter(_Messages(2, "w", closefd=False))  # type: ignore[type-var]
        sys.stderr = io.TextIOWrapper(messages, encoding=encoding, errors="backslashreplace", line_buffering=True)


class _Messages(io.FileIO):
    """A file whose writer never learns that it cannot be written."""

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return len(data)
