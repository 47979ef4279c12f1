"""Compare the estimators with perceptrons and trees on scikit-learn's tables: `python benchmarks/tables.py OUT [SEED]`.

Five folds of each data set that ships with scikit-learn, shuffled by SEED (0). Each method is fitted to the same four
folds and asked of the fifth: `HyperClassifier` and `HyperRegressor` with their defaults, one perceptron of sklearn's,
ten of them (the mean of what they say), a random forest, and gradient-boosted trees, all with their defaults. Inputs of
perceptrons are standardised, and labels that are values. OUT.md holds a Markdown table with the differences to the ten
perceptrons, fold by fold, and their standard error; OUT.jsonl a line for each fit. What is there is not fitted again.
"""

import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyperframe.sklearn import HyperClassifier, HyperRegressor

FOLDS, BAG, BINS = 5, 10, 15
CLASSES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
VALUES = {"diabetes": datasets.load_diabetes}
HYPER, ONE, TEN, FOREST, BOOSTED = "hyperframe", "one perceptron", "ten perceptrons", "random forest", "boosted trees"
NOT_LESS = 1e-12
Figures = dict[str, float]


def classifiers(seed: int) -> dict[str, Callable[[], list[Any]]]:
    """The classifiers of each method; their mean probabilities count."""
    return {
        HYPER: lambda: [HyperClassifier(random_state=seed)],
        ONE: lambda: [_scaled(MLPClassifier(random_state=seed))],
        TEN: lambda: [_scaled(MLPClassifier(random_state=100 * seed + number)) for number in range(BAG)],
        FOREST: lambda: [RandomForestClassifier(random_state=seed)],
        BOOSTED: lambda: [HistGradientBoostingClassifier(random_state=seed)],
    }


def regressors(seed: int) -> dict[str, Callable[[], list[Any]]]:
    """The regressors of each method; the mean of their predictions counts."""
    return {
        HYPER: lambda: [HyperRegressor(random_state=seed)],
        ONE: lambda: [_scaled_labels(MLPRegressor(random_state=seed))],
        TEN: lambda: [_scaled_labels(MLPRegressor(random_state=100 * seed + number)) for number in range(BAG)],
        FOREST: lambda: [RandomForestRegressor(random_state=seed)],
        BOOSTED: lambda: [HistGradientBoostingRegressor(random_state=seed)],
    }


def _scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


def _scaled_labels(model: Any) -> Any:
    return TransformedTargetRegressor(_scaled(model), transformer=StandardScaler())


def figures_of_classes(models: list[Any], x: np.ndarray, y: np.ndarray) -> Figures:
    """Accuracy, negative log-likelihood and expected calibration error of mean probabilities."""
    p = np.mean([model.predict_proba(x) for model in models], 0)
    right, sure = p.argmax(1) == y, p.max(1)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs((right[bins == one] - sure[bins == one]).sum()) for one in range(BINS)]
    nll = -np.log(np.clip(p[np.arange(len(y)), y], NOT_LESS, 1)).mean()
    return {"score": float(right.mean()), "nll": float(nll), "ece": float(sum(gaps) / len(y))}


def figures_of_values(models: list[Any], x: np.ndarray, y: np.ndarray) -> Figures:
    """R², and where there is a deviation the negative log-likelihood and the part of labels within 90 %."""
    if isinstance(models[0], HyperRegressor):
        mean, std = models[0].predict(x, return_std=True)
        within = float((np.abs(y - mean) < 1.6449 * std).mean())
        nll = float((((y - mean) / std) ** 2 / 2 + np.log(std)).mean() + np.log(2 * np.pi) / 2)
        return {"score": _r2(mean, y), "nll": nll, "ece": abs(within - 0.9)}
    return {"score": _r2(np.mean([model.predict(x) for model in models], 0), y)}


def _r2(mean: np.ndarray, y: np.ndarray) -> float:
    return float(1 - ((mean - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def rows(seed: int, known: set[tuple[str, str, int]]) -> Iterator[dict[str, Any]]:
    """Fit each method to each fold of each data set that is not known; yield its figures."""
    for name, load in {**VALUES, **CLASSES}.items():
        x, y = load(return_X_y=True)
        of_classes = name in CLASSES
        division = (StratifiedKFold if of_classes else KFold)(FOLDS, shuffle=True, random_state=seed)
        methods = (classifiers if of_classes else regressors)(seed)
        for fold, (train, test) in enumerate(division.split(x, y)):
            for method, make in methods.items():
                if (name, method, fold) in known:
                    continue
                models, began = make(), time.process_time()
                for model in models:
                    model.fit(x[train], y[train])
                seconds = time.process_time() - began
                figures = (figures_of_classes if of_classes else figures_of_values)(models, x[test], y[test])
                yield {"data": name, "method": method, "fold": fold, "seconds": seconds, **figures}


def table(found: list[dict[str, Any]]) -> str:
    """A row for each data set and method: means over folds, and differences to ten perceptrons ± standard error."""
    by: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in found:
        by[row["data"], row["method"]][row["fold"]] = row
    lines = [
        "| data | method | accuracy, R² | less that of ten | NLL | less that of ten | calibration | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (data, method), own in by.items():
        other = by[data, TEN]
        cells = [data, method]
        for figure in ("score", "nll"):
            cells += [_mean(own, figure), "–" if method == TEN else _difference(own, other, figure)]
        lines.append("| " + " | ".join([*cells, _mean(own, "ece"), f"{_values(own, 'seconds').mean():.1f}"]) + " |")
    return "\n".join(lines) + "\n"


def _values(own: dict[int, dict[str, Any]], figure: str) -> np.ndarray:
    return np.array([row.get(figure, np.nan) for _, row in sorted(own.items())])


def _mean(own: dict[int, dict[str, Any]], figure: str) -> str:
    mean = _values(own, figure).mean()
    return "–" if np.isnan(mean) else f"{mean:.4f}"


def _difference(own: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]], figure: str) -> str:
    if own.keys() != other.keys():
        return "–"
    less = _values(own, figure) - _values(other, figure)
    if np.isnan(less).any():
        return "–"
    return f"{less.mean():+.4f} ± {less.std(ddof=1) / np.sqrt(len(less)):.4f}"


def main() -> None:
    """Fit what is missing, and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    out, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    log = out.with_suffix(".jsonl")
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(row["data"], row["method"], row["fold"]) for row in found}
    with log.open("a") as file:
        for row in rows(seed, known):
            found.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    out.with_suffix(".md").write_text(table(found))


if __name__ == "__main__":
    main()
