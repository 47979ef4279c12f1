"""The options of components that have none."""

import attrs


@attrs.frozen
class NoOptions:
    """The options of a component that has none."""
