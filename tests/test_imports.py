"""Modules import only downwards."""

import ast
from pathlib import Path

import pytest

import hyperframe

PACKAGE = Path(hyperframe.__file__).parent
ORDER = """
errors
progress
terminal
modes
memory
workers
chunks
files
links
parts
options
seeds
plane
pca
signals
distributed
calibration
growth
equivalent
taskmetrics
corruptions
standardisation
embeddings
trialinputs
params
spec
types
aliases
hookspecs
kinds
plugins
factories
weights
paths
filterslices
structure
compiling
labelorbits
symmetry
sorting
matching
novelty
unitdiversity
precision
exact
labels
factors
findings
discovery
rules
crossed
layouts
lookups
pointwise
comparisons
reductions
kernels
norms
affine
computed
computedkernels
shifts
exchange
assembly
selfcheck
remedies
exporting
walking
tracing
convolution
normstatistics
batching
probes
target
gauge
augmentation
task
regression
gaussian_regression
arrayfiles
arraynames
channels
classnames
owntasks
owndata
owncode
dense
generator
moments
logdet
preflight
fingerprints
priors
outputs
bezier
loss
yamlvalues
overrides
choices
config
schedule
experiment
bound
trainedinputs
samples
members
detection
attacks
fooling
scoring
samplefiles
evaluation
checkpoints
metrics
folder
run
applicability
averaging
distillation
condensing
ensembles
pictures
analyses
trainer
training
resume
references
predictions
listing
comparison
describe
benchmark
reference
tables
bars
api
arguments
report
page
benchcommand
comparecommand
reportcommand
distillcommand
newplugin
extensions
development
cli
""".split()


def imported(path):
    """Names of hyperframe's modules that a file imports, "" for the package itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "hyperframe":
                yield parts[1] if parts[1:] and (parts[1] in ORDER or parts[1] in ("builtin", "testing")) else ""


def test_every_module_has_its_place():
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert found == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_modules_import_only_downwards(name):
    # The kit stands above all but the commands; the one that runs it imports it when it is called.
    above = {"testing"} if name == "development" else set()
    assert set(imported(PACKAGE / f"{name}.py")) <= set(ORDER[: ORDER.index(name)]) | above


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("testing/*.py")), ids=lambda path: path.stem)
def test_the_kit_imports_no_commands(path):
    assert not set(imported(path)) & {"cli", "tables", "arguments", "development", "builtin"}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("builtin/**/*.py")), ids=lambda path: path.stem)
def test_builtin_components_import_neither_each_other_nor_the_command_line(path):
    above = {"cli", "tables", "api", "builtin"}
    # Analyses look at trained runs; no other component knows of them.
    assert not set(imported(path)) & (above if path.parent.name == "analyses" else {*above, "trainer", "run"})


def test_an_upward_import_would_be_found(tmp_path):
    wrong = tmp_path / "spec.py"
    wrong.write_text("def later():\n    from hyperframe.trainer import Trainer\n")
    assert set(imported(wrong)) == {"trainer"}
