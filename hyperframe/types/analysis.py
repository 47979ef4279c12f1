"""The protocol of analyses."""

from pathlib import Path
from typing import Any, Protocol


class Analysis(Protocol):
    """Finds something out about a trained run."""

    def __call__(self, run: Any, folder: Path) -> dict[str, Any]:
        """Results of a `hyperframe.Run` as plain data; pictures are written into the folder, which is there."""
        ...
