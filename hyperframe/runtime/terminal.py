"""Texts for the terminal, in which every character is shown, and which of several processes writes them."""

import os
import unicodedata
from collections.abc import Iterable
from typing import Any

import attrs
import rich.console
from rich.segment import Segment
from rich.text import Text

HIDDEN = ("Cc", "Cf", "Cs")
"""Categories of characters that are not shown but obeyed, such as escapes and what turns the direction of writing."""


def printable(text: str) -> str:
    r"""A text with its control characters written out; only ends of lines and tabs stay.

    What a run, a file or a plugin of somebody else says could otherwise recolour, retitle or overwrite what a terminal
    shows.

    Example:
        >>> print(printable("a\x1b[31mb"))
        a\x1b[31mb
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in HIDDEN:
        return letter
    return letter.encode("unicode_escape").decode("ascii")


class Console(rich.console.Console):
    """Rich's console, which writes out the control characters of what it is given to show."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Make a text of a string as rich does: before it is measured and cut, since it grows."""
        return super().render_str(printable(text), **how)

    def render(self, renderable: Any, options: rich.console.ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


@attrs.frozen(kw_only=True)
class Ranks:
    """This process among those that were started together.

    Attributes:
        rank: its number.
        count: how many there are.
        local_rank: its number among those on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def alone(self) -> bool:
        """Whether there is no other one."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether it is the one that writes, evaluates and speaks."""
        return self.rank == 0


def ranks() -> Ranks:
    """This process's place among those that torchrun, or what sets the same variables, has started.

    Example:
        >>> ranks()
        Ranks(rank=0, count=1, local_rank=0)
    """
    try:
        count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", ""))
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
    except ValueError:
        return Ranks()
    return Ranks(rank=rank, count=count, local_rank=local_rank) if count > 1 else Ranks()
