"""Analyses of a trained run, and the report of all of them.

- `runner`: what analyses find out about a run, one by name or all that its configuration lists
- `requirements`: what an analysis asks of a run before it begins
- `partial_results`: work in parts, each kept, so that what was interrupted goes on
- `plots`: what analyses draw, and what a report needs to know of it
- `ensembles`: what an ensemble of drawn networks achieves, before and after temperature scaling
- `ensemble_metrics`: figures of ensembles as they grow, for several sizes in one pass
- `scoring`: mean loss and score of every network by itself
- `members`: an ensemble's probabilities and a few members', in one pass
- `evaluation_rows`: an evaluation's metrics as words and texts, for tables and pages
- `report`: a run's evaluation and all analyses that apply to it, collected
- `page`: what a report collected, as one HTML file
- `distillation`: one network in the place of an ensemble
"""

from hyperframe.analysis.partial_results import in_parts
from hyperframe.analysis.plots import COLOURS, keep_grid, keep_lines, keep_picture, keep_scatter, new_figure
from hyperframe.analysis.requirements import (
    check_classifies,
    check_count,
    check_images,
    check_latent,
    check_takes_all_numbers,
)

__all__ = [
    "COLOURS",
    "check_classifies",
    "check_count",
    "check_images",
    "check_latent",
    "check_takes_all_numbers",
    "in_parts",
    "keep_grid",
    "keep_lines",
    "keep_picture",
    "keep_scatter",
    "new_figure",
]
