"""The examples that an ensemble is asked, and how some of them are shown: as images, or as rows of a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Data, Task
from hyperframe.analysis import keep_picture, make_table, new_figure

COLUMNS = 6
"""Images in a row."""

INPUTS = 8
"""The most numbers of an input that a table shows."""


@attrs.frozen(kw_only=True, eq=False)
class Asked:
    """Test examples with what an analysis needs to know of them.

    Attributes:
        data: the examples.
        numbers: their numbers in the test split, [examples].
        trained: the labels of the training split.
        task: whose examples they are.
        shown: how many are shown.
    """

    data: Data
    numbers: Tensor
    trained: Tensor
    task: Task
    shown: int

    @property
    def images(self) -> bool:
        """Whether inputs are images with one or three channels."""
        return len(self.task.input_shape) == 3 and self.task.input_shape[0] in (1, 3)

    def show(
        self, folder: Path, file: str, rows: Sequence[Mapping[str, Any]], *, title: str, caption: str
    ) -> dict[str, Any]:
        """Show examples: returns `pictures` with their images, or `tables` with the numbers of their inputs.

        Args:
            folder: of the analysis.
            file: of the picture.
            rows: for each example its `place` among those asked, its `example` number and what is said of it; a picture
                has `words` under each image, a table the columns of all other keys.
            title: a few words.
            caption: one sentence.
        """
        if not rows:
            return {}
        if self.images:
            figure = self._tiles(rows)
            return {"pictures": [keep_picture(folder, file, figure, title=title, caption=caption)]}
        told = [key for key in rows[0] if key not in ("place", "words")]
        inputs = [self.data.x[row["place"]].flatten().tolist() for row in rows]
        names = [f"x{number}" for number in range(min(INPUTS, len(inputs[0])))]
        more = f" The first {INPUTS} of {len(inputs[0])} inputs are shown." if len(inputs[0]) > INPUTS else ""
        cells = [[*(row[key] for key in told), *own[:INPUTS]] for row, own in zip(rows, inputs, strict=True)]
        return {"tables": [make_table([*told, *names], cells, title=title, caption=caption + more)]}

    def _tiles(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Draw images with words below, all in one range of grey or colours."""
        columns = min(COLUMNS, len(rows))
        lines = -(-len(rows) // columns)
        figure = new_figure(1.2 * columns, 1.6 * lines)
        panels = figure.subplots(lines, columns, squeeze=False).flat
        images = torch.stack([self.data.x[row["place"]] for row in rows]).float().cpu()
        low, high = float(images.min()), float(images.max())
        images = (images - low) / ((high - low) or 1.0)
        for axes, row, image in zip(panels, rows, images, strict=False):
            axes.imshow(image.movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            axes.set_xlabel(row["words"], fontsize=8, parse_math=False)
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in figure.axes[len(rows) :]:
            axes.set_visible(False)
        return figure
