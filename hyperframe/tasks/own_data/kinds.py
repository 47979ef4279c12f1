"""Kinds of labels, and what the options `task.kind` and `task.classes` say of those of each head."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from hyperframe.errors import DataError
from hyperframe.runtime.progress import quantity

Kind = Literal["classification", "dense_classification", "multi_label", "regression"]
AnyKind = Literal["auto", "classification", "dense_classification", "multi_label", "regression"]
NO_CLASSES = ("multi_label", "regression")


@attrs.frozen(kw_only=True)
class Said:
    """The kind and the number of classes that options name for labels: the only ones, or those of one head of several.

    Attributes:
        kinds: a `Kind`, or "auto", for the labels of each head; one where there are no heads.
        counts: the numbers of their classes, None where they are not said.
        place: which of them these labels are.

    Example:
        >>> one, other = Said(), Said(kinds=("auto", "auto"), counts=(4, 4), place=1)
        >>> one.setting("regression"), other.setting("regression"), other.without_classes()
        ('task.kind=regression', 'task.kind=[auto,regression]', 'set task.classes=[4,null]')
    """

    kinds: tuple[str, ...] = ("auto",)
    counts: tuple[int | None, ...] = (None,)
    place: int = 0

    @property
    def kind(self) -> str:
        """A `Kind`, or "auto"."""
        return self.kinds[self.place]

    @property
    def classes(self) -> int | None:
        """The number of classes, where it is said."""
        return self.counts[self.place]

    def setting(self, kind: str) -> str:
        """The setting by which these labels are of a kind, and others what they are, for messages."""
        return f"task.kind={_shown([*self.kinds[: self.place], kind, *self.kinds[self.place + 1 :]])}"

    def of_all(self) -> str:
        """A hint, for the end of a message, where one kind that was said of all heads does not fit these labels."""
        if len(self.kinds) == 1 or self.kind == "auto" or len(set(self.kinds)) > 1:
            return ""
        return f"; task.kind={self.kind} is said of all heads, {self.setting('auto')} of the others alone"

    def without_classes(self) -> str:
        """Advice by which no number of classes is said of these labels, for messages."""
        counted = [(self.counts[at], at != self.place and kind not in NO_CLASSES) for at, kind in enumerate(self.kinds)]
        counts = [count if kept else None for count, kept in counted]
        left = any(count is not None for count in counts)
        return f"set task.classes={_shown(counts)}" if left else "leave task.classes out"


def said_of(
    kind: str | Sequence[str], classes: int | Sequence[int | None] | None, heads: Sequence[str], where: str
) -> list[Said]:
    """Read off options the kind and classes of the labels of each head, or of the only labels where there are no heads.

    Args:
        kind: one for all labels, or one for each head.
        classes: likewise.
        heads: their names, in their order.
        where: labels come from, for messages.

    Raises:
        DataError: something is said of another number of heads than there are.

    Example:
        >>> [said.kind for said in said_of(["auto", "regression"], None, ["digit", "size"], "here")]
        ['auto', 'regression']
    """
    kinds = _of_each("task.kind", "kind", kind, heads, where)
    counts = _of_each("task.classes", "number", classes, heads, where)
    return [Said(kinds=kinds, counts=counts, place=place) for place in range(len(kinds))]


def check_number(key: str, what: str, values: Sequence[Any], heads: Sequence[str], where: str) -> None:
    """Raise `DataError` where an option that says something of each head, `what`, says it of another number of them."""
    if not heads or len(values) != len(heads):
        there = "there are no heads: y is a mapping of labels where there are"
        if heads:
            are = "there is" if len(heads) == 1 else "there are"
            there = f"{are} {quantity(len(heads), 'head')}, {', '.join(heads)}"
        raise DataError(f"{where}: {key} has {quantity(len(values), what)}, but {there}")


def _of_each(key: str, what: str, value: Any, heads: Sequence[str], where: str) -> tuple[Any, ...]:
    """The value of an option for each head; for the only labels where there are no heads."""
    if not isinstance(value, list | tuple):
        return (value,) * max(len(heads), 1)
    check_number(key, what, value, heads, where)
    return tuple(value)


def _shown(values: Sequence[Any]) -> str:
    """A value for each head as one types it: one for all where they are the same."""
    texts = ["null" if value is None else str(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else f"[{','.join(texts)}]"
