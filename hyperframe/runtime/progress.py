"""Progress of long work: whoever does it tells, and whoever listens shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Is told what is done, how many parts of it are ready, and how many there are."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


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
