"""Progress of long work: whoever does it tells, and whoever listens shows it; how long, and how many, in words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

Listener = Callable[[str, int, int], None]
"""Is told what is done, how many parts of it are ready, and how many there are."""

MISSING = "–"
"""Stands in a table where there is no value."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def in_words(seconds: float) -> str:
    """A duration as people say it, in at most two units, rounded to the smaller one.

    Example:
        >>> in_words(0.0123), in_words(42.3), in_words(125), in_words(8000), in_words(200_000)
        ('12 ms', '42 s', '2 min 5 s', '2 h 13 min', '2 days 8 h')
    """
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for (unit, size), (smaller, part) in pairwise(_UNITS):
        count = round(seconds / part)
        if count * part >= size:
            whole, rest = divmod(count, size // part)
            words = quantity(whole, unit) if unit == "day" else f"{whole} {unit}"
            return words + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.0f} s"


def quantity(count: int, what: str, several: str | None = None) -> str:
    """A count with the word for what is counted, in the plural where it must be.

    Args:
        count: how many.
        what: the word in the singular.
        several: in the plural; by default with an s.

    Example:
        >>> quantity(1, "network"), quantity(3000, "network"), quantity(2, "batch", "batches")
        ('1 network', '3,000 networks', '2 batches')
    """
    return f"{count:,} {what if count == 1 else several or f'{what}s'}"


def tell(what: str, done: int, total: int) -> None:
    """Tell how far it is."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, total)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let a listener hear what is told inside.

    Example:
        >>> with heard_by(lambda what, done, total: print(f"{what}: {done} of {total}")):
        ...     tell("networks", 1, 3)
        networks: 1 of 3
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
