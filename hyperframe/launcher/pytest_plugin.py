"""`pytest --hyperframe-target NAME`: the conformance kit's checks of a component, as tests.

Every pytest run loads this, so nothing is imported before the option asks for it.
"""

from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("hyperframe")
    group.addoption(
        "--hyperframe-target",
        action="append",
        default=[],
        metavar="NAME",
        help="check a target, or a component of another kind, by hyperframe's conformance kit; can be repeated",
    )
    group.addoption(
        "--hyperframe-task",
        metavar="NAME",
        help="the task that gives such a target without a spec its inputs' shape; by default digits",
    )


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each check of the named components."""
    for name in config.getoption("--hyperframe-target"):
        items.extend(_items(session, name, config.getoption("--hyperframe-task")))


def _items(session: pytest.Session, name: str, task: str | None) -> Iterator[pytest.Item]:
    from hyperframe.errors import HyperframeError
    from hyperframe.testing.kit import checks

    try:
        found = checks(name) if task is None else checks(name, task=task)
    except HyperframeError as error:
        raise pytest.UsageError(f"--hyperframe-target: {error}") from error
    for check in found:
        yield CheckItem.from_parent(session, name=check.id, nodeid=f"hyperframe::{check.id}", check=check)


class CheckItem(pytest.Item):
    """A check as a test."""

    def __init__(self, *, check: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.check = check

    def runtest(self) -> None:
        """Try the law."""
        self.check()

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Return what was seen, without a traceback through the kit."""
        from hyperframe.testing.laws import ConformanceError

        if isinstance(excinfo.value, ConformanceError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return the name of the test in reports."""
        return self.path, None, self.name
