"""Wings import only from wings before them, modules in no circle, and every wing says what lies in it."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

import hyperframe

PACKAGE = Path(hyperframe.__file__).parent
ORDER = [
    {"errors"},
    {"options", "metrics", "entry_points"},
    {"types"},
    {"component"},
    {"hookspecs", "runtime"},
    {"targets", "tasks"},
    {"networks", "config"},
    {"experiment"},
    {"runs"},
    {"training", "analysis"},
    {"api", "bench"},
    {"sklearn"},
    {"testing", "__init__", "__main__"},
    {"builtin", "cli"},
]
"""Wings, and modules beside them; those of one line know nothing of each other."""
LARGEST_MODULE, LARGEST_FOLDER = 350, 12
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent.name != "launcher")


def modules(package):
    """Paths of all modules by their names; the launcher stands apart, since it runs before the library is imported."""
    paths = (path for path in sorted(package.rglob("*.py")) if "launcher" not in path.parts)
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in paths}


def imported(path, known):
    """Names of hyperframe's modules that a file imports, wherever in it."""
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
            if parts.pop(0) != "hyperframe":
                continue
            while parts and ".".join(parts) not in known and ".".join([*parts, "__init__"]) not in known:
                parts.pop()
            yield ".".join(parts) if ".".join(parts) in known else ".".join([*parts, "__init__"])


def wing(module):
    return module.split(".")[0]


def against_the_order(package):
    """All imports of a wing that does not come before."""
    place = {name: number for number, names in enumerate(ORDER) for name in names}
    known = modules(package)
    return [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in imported(path, known)
        if wing(other) != wing(name) and place[wing(other)] >= place[wing(name)]
    ]


def test_wings_import_only_from_wings_before_them():
    assert {wing(name) for name in modules(PACKAGE)} - {"templates"} == set().union(*ORDER)
    assert against_the_order(PACKAGE) == []


def test_modules_are_in_no_circle():
    known = modules(PACKAGE)
    graphlib.TopologicalSorter({name: set(imported(path, known)) for name, path in known.items()}).prepare()


def test_an_import_against_the_order_would_be_found(tmp_path):
    for name in ("targets", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "training" / "loop.py").write_text("from hyperframe.targets import spec\n")
    (tmp_path / "targets" / "spec.py").write_text("def later():\n    from hyperframe.training.loop import train\n")
    assert against_the_order(tmp_path) == ["targets.spec imports training.loop"]
    known = modules(tmp_path)
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({name: set(imported(path, known)) for name, path in known.items()}).prepare()


@pytest.mark.parametrize("name", [name for name in modules(PACKAGE) if wing(name) == "builtin"])
def test_components_import_nothing_of_each_other(name):
    component = ".".join(name.split(".")[:3])
    found = set(imported(modules(PACKAGE)[name], modules(PACKAGE)))
    assert all(other.startswith(component) for other in found if wing(other) == "builtin")
    # Analyses look at trained runs; no other component knows of them.
    assert name.startswith("builtin.analyses") or not {wing(other) for other in found} & {
        "runs",
        "training",
        "analysis",
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_folders_and_modules_stay_small_enough_to_be_looked_through(folder):
    paths = sorted(folder.glob("*.py"))
    limit = 20 if folder.parent.name == "builtin" or folder.name == "testing" else LARGEST_FOLDER
    assert len(paths) - 1 <= limit  # components of one kind, and laws, are as many as there are
    for path in paths:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LARGEST_MODULE, path.name


@pytest.mark.parametrize(
    "folder",
    [path for path in FOLDERS if path.relative_to(PACKAGE).parts[:1] not in ((), ("builtin",), ("templates",))],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_every_wing_says_what_lies_in_it(folder):
    lines = re.findall(r"^- (`.*?): ", (folder / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    said = {name for line in lines for name in re.findall(r"`(\w+)`", line)}
    there = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert said == there - {"__init__"}
