"""Analyses of a trained run, and the report of all of them.

- `runner`: runs analyses, one by name or all that a configuration lists, and keeps their results in the run's folder
- `requirements`: checks that an analysis makes of a run before it begins
- `partial_results`: work done in parts, each of which is kept, so that an interrupted analysis goes on
- `conclusions`: sentences that analyses draw from their results, by the questions that a report asks of a run
- `plots`: pictures, tables and interactive elements that analyses write, as a report shows them
- `ensembles`: metrics of drawn ensembles and of their networks, before and after temperature scaling
- `ensemble_metrics`: metrics of ensembles as they grow, for several sizes in one pass
- `bootstrap`: intervals of means
- `scoring`: loss, score and predicted probabilities of networks on some examples
- `results`: checks that files can keep what an analysis returns, and a report show it
- `rows`: results as labels and texts, for tables and pages
- `report`: collects a run's evaluation and all analyses that apply to it
- `page`: writes what a report collected as one HTML file, whose first screen are the conclusions
- `distillation`: one network in place of an ensemble
"""

from hyperframe.analysis.conclusions import conclude
from hyperframe.analysis.partial_results import in_parts
from hyperframe.analysis.plots import COLOURS, keep_grid, keep_lines, keep_picture, keep_scatter, make_table, new_figure
from hyperframe.analysis.requirements import (
    check_classifies,
    check_count,
    check_images,
    check_latent,
    check_likelihood,
    check_takes_all_numbers,
    has_classes,
    has_values,
)

__all__ = [
    "COLOURS",
    "check_classifies",
    "check_count",
    "check_images",
    "check_latent",
    "check_likelihood",
    "check_takes_all_numbers",
    "conclude",
    "has_classes",
    "has_values",
    "in_parts",
    "keep_grid",
    "keep_lines",
    "keep_picture",
    "keep_scatter",
    "make_table",
    "new_figure",
]
