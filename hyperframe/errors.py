"""Errors that a user can cause, what he should be told, and the words for a name that is not known."""

import difflib
import re
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

INSTALLED = {"site-packages", "dist-packages"}
LIBRARIES = {
    "torch",
    "torchvision",
    "numpy",
    "einops",
    "matplotlib",
    "attr",
    "omegaconf",
    "pluggy",
    "hypothesis",
    "_pytest",
    "sklearn",
}
"""Packages whose lines no author of components looks for a mistake in."""


class HyperframeError(Exception):
    """Something a user can mend; the command prints its message without a traceback and exits with 2."""


class SpecError(HyperframeError):
    """A target's spec contradicts itself or the module that it describes."""


class ConfigError(HyperframeError):
    """A configuration holds an unknown key, a wrong value, or components that do not fit together."""


class PluginError(HyperframeError):
    """A plugin is missing, registered twice, or could not be loaded."""


class DataError(HyperframeError):
    """A data set is not where it was looked for, or not what it should be."""


class RunError(HyperframeError):
    """A file or run folder cannot be written, is damaged, or is not what was asked for."""


class NotApplicableError(RunError):
    """An analysis has nothing to say about such a run, as one of probabilities about a regression."""


class DivergedError(RunError):
    """Networks have weights or outputs that are not finite numbers, so that nothing they say means anything."""


class DeviceError(HyperframeError):
    """A device was asked for that this machine does not have."""


class TrainingError(HyperframeError):
    """Training cannot go on, for instance because the loss is no longer finite."""


class ProcessLostError(TrainingError):
    """Another process of a training on several has ended, and what only all of them have cannot be computed."""


class MemoryShortageError(HyperframeError):
    """Something does not fit into memory, in however small pieces."""


class Terminated(SystemExit):
    """A signal ended the program; the code is the one that a shell gives for it."""


STOPPED = (KeyboardInterrupt, Terminated)
"""Raised where user or system want an end. All else that others' code raises, `sys.exit` too, is a failure of it."""


class HyperframeWarning(UserWarning):
    """Something a user should know and that stops nothing; the command prints its message on standard error."""


def notice(message: str) -> None:
    """Tell the user something that stops nothing."""
    warnings.warn(message, HyperframeWarning, stacklevel=3)


def brief(error: BaseException) -> str:
    """Shorten another library's error message to one line.

    Example:
        >>> brief(ValueError("a    b"))
        'a b'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + " …"


def described(error: BaseException) -> str:
    """Say in one line what other people's code raised and, where it is known, in which file and line of theirs.

    Example:
        >>> described(SystemExit(3))
        'SystemExit: 3'
    """
    return f"{type(error).__name__}: {brief(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """Say which line of other people's own code raised it, or called what did, as Python does of syntax errors."""
    steps = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [f" ({file.name}, line {line})" for file, line in steps if file.is_absolute() and not _is_of_library(file)]
    return own[-1] if own else ""


def _is_of_library(file: Path) -> bool:
    """Whether a file is of this package, of Python, or of a library that much of such code calls."""
    if file.is_relative_to(Path(__file__).parent):
        return True
    place = next((number for number, part in enumerate(file.parts) if part in INSTALLED), None)
    if place is None:
        return file.is_relative_to(sysconfig.get_path("stdlib"))
    return file.parts[place + 1] in LIBRARIES


@contextmanager
def others_code(
    failed: Callable[[BaseException], Exception], passing: tuple[type[BaseException], ...] = (HyperframeError,)
) -> Iterator[None]:
    """Run other people's code, which may raise anything: `sys.exit` and what is no `Exception` are failures of it too.

    Args:
        failed: for what the code raises, the error that is raised instead.
        passing: what is raised as it is, beside Ctrl-C and signals.

    Example:
        >>> with others_code(lambda error: PluginError(f"the factory failed: {described(error)}")):
        ...     raise SystemExit(3)
        Traceback (most recent call last):
        hyperframe.errors.PluginError: the factory failed: SystemExit: 3
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (*passing, *STOPPED)):
            raise
        raise failed(error) from error


class Forgiven:
    """Run other people's code that one can do without: whatever it raises, what stands behind the block goes on.

    Args:
        told: is called with what the code raises.
        passing: what is raised as it is, beside Ctrl-C and signals.

    Example:
        >>> with Forgiven(lambda error: print(described(error))):
        ...     raise SystemExit(3)
        SystemExit: 3
    """

    def __init__(
        self, told: Callable[[BaseException], object] | None = None, passing: tuple[type[BaseException], ...] = ()
    ) -> None:
        self.told, self.passing = told, passing

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Whether what was raised counts as forgiven."""
        if error is None or isinstance(error, (*self.passing, *STOPPED)):
            return False
        if self.told is not None:
            self.told(error)
        return True


def unknown_name(
    kind: str,
    name: str,
    known: Iterable[str],
    owners: dict[str, str] | None = None,
    meanings: Mapping[str, str] | None = None,
) -> str:
    """Return the message for an unknown name: the closest known one first, then all of them.

    Args:
        kind: what the name is a name of, in the singular, such as "target".
        name: what was asked for.
        known: the names that exist.
        owners: for each name the distribution that registers it; shown behind the name where given.
        meanings: for each name what it stands for; where no name is close each known one has a line with the first
            clause of it.

    Example:
        >>> unknown_name("target", "mnist_cn", ["digits_cnn", "mnist_cnn"])
        "unknown target 'mnist_cn'; did you mean 'mnist_cnn'? Known: digits_cnn, mnist_cnn"
        >>> print(unknown_name("key", "size", ["rate", "width"], meanings={"rate": "of Adam", "width": "units"}))
        unknown key 'size'. Known:
          rate: of Adam
          width: units
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"; did you mean '{close[0]}'?" if close else "."
    listed = ", ".join(f"{n} ({owners[n]})" if owners and n in owners else n for n in names)
    short = name if len(name) <= 100 else name[:100] + " …"
    if meanings and not close:
        lines = (f"\n  {name}: {re.split('[,;:(]', meanings.get(name, ''))[0].strip()}" for name in names)
        return f"unknown {kind} '{short}'. Known:{''.join(lines)}"
    return f"unknown {kind} '{short}'{guess} Known: {listed or 'none'}"
