"""The documentation says what is so: links resolve, code runs, and pages fit the code they are about."""

import ast
import importlib
import json
import re
import statistics
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
import wrong
from click.testing import CliRunner

import hyperframe as hf
from hyperframe import testing
from hyperframe.analysis.runner import analyse
from hyperframe.config.kinds import KINDS
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.testing import checks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def module_of(name, source):
    module = types.ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))
    return module


def broken_links(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    return [target for target in targets if "://" not in target and not (page.parent / target).exists()]


@every_page
def test_relative_links_resolve(page):
    assert broken_links(page) == []


def test_a_broken_link_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[here](page.md#a) [there](absent.md) [outside](https://example.org)\n```\n[no](link)\n```\n")
    assert broken_links(page) == ["absent.md"]


@every_page
def test_python_blocks_compile(page):
    for number, block in enumerate(blocks(page)):
        compile(block, f"{page.name}, block {number}", "exec")


@pytest.mark.slow
def test_the_specs_of_the_tutorial_prove_themselves(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = module_of("tutorial", "\n".join(blocks(ROOT / "docs" / "target.md")))
    assert capsys.readouterr().out == "{'logit_shift': 7, 'scaling': 6, 'permutation': 6}\n"
    forgotten = hf.targets.UnitSpec(name="own", size=6, ops=["relu"])
    wrong = hf.targets.TargetSpec(
        name="wrong",
        input_shape=(4,),
        num_outputs=3,
        units=[
            hf.targets.UnitSpec(name="trunk", size=6, ops=["relu", "add"]),
            hf.targets.UnitSpec(name="inner", size=5, ops=["relu"]),
            forgotten,
        ],
        layers=[
            module.dense("stem", 6, writes=("trunk",)),
            module.dense("inner", 5, reads=("trunk",), writes=("inner",)),
            module.dense("back", 6, reads=("inner",), writes=("own",)),
            module.dense("out", 3, reads=("trunk",)),
        ],
    )
    with pytest.raises(AssertionError):
        module.prove(module.Residual(), wrong)


def signatures():
    tree = ast.parse((ROOT / "hyperframe" / "hookspecs.py").read_text(encoding="utf-8"))
    hooks = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name: f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}" for node in hooks}


@pytest.mark.parametrize("name", signatures())
def test_every_hook_has_its_heading(name):
    heading = f"\n## {signatures()[name]}\n"
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    assert heading in page
    assert f"def {name}(" in page.partition(heading)[2].partition("\n## ")[0]
    of_wrong = {KINDS[kind].hook for kind in wrong.KINDS}
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert name in of_wrong or any(f"def {name}(" in path.read_text(encoding="utf-8") for path in tests)


@pytest.fixture(scope="module")
def hooks_page():
    """The examples of the page of hooks, as an installed plugin is."""
    *examples, _ = blocks(ROOT / "docs" / "hooks.md")  # the last one trains, with a module to be imported
    return Registry(make_plugin_manager(extra=[module_of("my_plugin", "\n".join(examples))]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "analysis"])
def test_the_hooks_examples_keep_their_laws(hooks_page, kind):
    own = [entry for entry in hooks_page.all() if entry.kind == kind and entry.source.distribution == "my_plugin"]
    assert own
    for entry in own:
        for check in checks(entry.component.name, kind=kind, registry=hooks_page):
            assert check.verdict().state != "failed", check.verdict().explain()


def test_the_hooks_analysis_runs(hooks_page, small, tmp_path):
    run = small(tmp_path / "run")
    found = analyse(run, "norms", hooks_page)
    assert found["raw"] > 0
    assert json.loads((run.folder / "analyses" / "norms" / "results.json").read_text()) == found


def test_the_hooks_command_runs(hooks_page, small, tmp_path):
    run = small(tmp_path / "run")
    module = next(plugin for plugin in hooks_page.manager.get_plugins() if plugin.__name__ == "my_plugin")
    result = CliRunner().invoke(module.parameters, [str(run.folder)])
    assert result.output.strip() == str(run.experiment.generator.describe()["parameters"])


@pytest.mark.slow
def test_the_readmes_target_works_as_printed(tmp_path):
    target, test = (
        next(block for block in blocks(ROOT / "README.md") if word in block) for word in ("def build(", "@conf")
    )
    lines = [line for line in target.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 15
    registry = Registry(make_plugin_manager(extra=[module_of("my_target", target)]))
    assert '@conformance("my_target")' in test
    for check in checks("my_target", registry=registry):
        assert check.verdict().state != "failed", check.verdict().explain()
    settings = {"target": "my_target", "trainer.steps": 2, "trainer.networks": 8, "trainer.device": "cpu"}
    assert hf.train("digits", {**settings, "evaluation.networks": 2}, out=tmp_path / "run", registry=registry).finished


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("target.md", "hyperframe-perceptron/hyperframe_perceptron/__init__.py"),
        ("prove.md", "hyperframe-perceptron/tests/test_perceptron.py"),
        ("gauge.md", "hyperframe-max-scale/hyperframe_max_scale/__init__.py"),
        ("gauge.md", "hyperframe-max-scale/tests/test_max_scale.py"),
    ],
)
def test_pages_show_the_plugins_verbatim(page, file):
    assert (ROOT / "plugins" / file).read_text(encoding="utf-8") in blocks(ROOT / "docs" / page)


PLUGINS = sorted([*ROOT.glob("plugins/*/*/*.py"), *ROOT.glob("hyperframe/templates/*.txt")])
BUILT_IN = sorted(ROOT.glob("hyperframe/builtin/**/*.py"))
WINGS = ("targets", "networks", "types", "analysis", "errors")
PUBLIC = {
    "hyperframe": hf,
    **{f"hyperframe.{name}": getattr(hf, name) for name in WINGS},
    "hyperframe.testing": testing,
}


def public_names(module):
    """As docs/generate.py finds them."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return getattr(module, "__all__", [name for name in own if not name.startswith("_")])


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugins_import_public_names_only(path):
    text = path.read_text(encoding="utf-8").replace("SETTINGS", "'key': 1")
    if path.suffix == ".txt" and "import hyperframe" not in text:
        return
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            own = [alias.name for alias in node.names if alias.name.startswith("hyperframe")]
            assert set(own) <= {"hyperframe"}
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "hyperframe":
            assert {alias.name for alias in node.names} <= set(public_names(PUBLIC[str(node.module)]))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("hf", *(f"hf.{name}" for name in WINGS)):
            wing = ast.unparse(node.value).replace("hf", "hyperframe", 1)
            assert node.attr in (*public_names(PUBLIC[wing]), *(WINGS if wing == "hyperframe" else ())), node.attr


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: str(path.relative_to(ROOT / "hyperframe" / "builtin")))
def test_built_ins_import_public_names_from_where_third_parties_do(path):
    """A name has one public place; what has none is imported from its module, and is not private there."""
    places = {}
    for place, module in PUBLIC.items():
        for name in public_names(module):
            places.setdefault((name, id(getattr(module, name))), place)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "hyperframe":
            for name in (alias.name for alias in node.names):
                assert not name.startswith("_")
                value = getattr(importlib.import_module(node.module), name)
                assert places.get((name, id(value)), node.module) == node.module, f"{name} of {node.module}"


def test_the_hooks_examples_run(tmp_path, monkeypatch):
    *examples, _ = blocks(ROOT / "docs" / "hooks.md")  # the last one trains, with a module to be imported
    registry = Registry(make_plugin_manager(extra=[module_of("my_plugin", "\n".join(examples))]))
    assert registry.manager.broken == []
    own = {entry.kind: entry.component.name for entry in registry.all() if entry.source.distribution == "my_plugin"}
    assert set(own) == set(KINDS)
    settings = {key: own[key] for key in ("task", "target", "generator", "entropy", "objective")}
    settings |= {"target.inputs": 13, "target.classes": 3, "gauges": [own["gauge"]]}
    settings |= {"diversity": [own["diversity"], "weight_entropy"], "trainer.steps": 2, "trainer.networks": 8}
    settings |= {"trainer.log_every": 1, "evaluation.networks": 4, "trainer.device": "cpu"}
    run = hf.train("digits", settings, out=tmp_path / "run", registry=registry)
    assert len((run.folder / "score.txt").read_text().splitlines()) == 2


def test_the_examples_gauge_is_a_gauge():
    module = module_of("my_plugin", "\n".join(blocks(ROOT / "docs" / "hooks.md")[:-1]))
    experiment = build_experiment(load_config("digits", ["trainer.device=cpu"], Registry(make_plugin_manager())))
    gauge = module.CentredLogits(experiment.orbits)
    rng = torch.Generator().manual_seed(0)
    out = experiment.target.spec.layer("out")
    weights = {"out": torch.randn(3, out.filters, out.filter_size, generator=rng, dtype=torch.float64)}
    shift = torch.randn(3, 1, out.filter_size, generator=rng, dtype=torch.float64)
    once = gauge(weights)
    torch.testing.assert_close(gauge({"out": weights["out"] + shift}), once)
    torch.testing.assert_close(gauge(once), once)


@pytest.mark.slow
def test_generated_pages_fit_the_code():
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_a_page_that_drifted_is_named(tmp_path):
    (tmp_path / "generate.py").write_bytes((ROOT / "docs" / "generate.py").read_bytes())
    (tmp_path / "cli.md").write_bytes((ROOT / "docs" / "cli.md").read_bytes())
    (tmp_path / "configuration.md").write_text("# Configuration\n")
    command = [sys.executable, str(tmp_path / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert "docs/configuration.md" in checked.stderr
    assert "docs/cli.md" not in checked.stderr
    assert (tmp_path / "configuration.md").read_text() == "# Configuration\n"


def test_raw_and_gauged_weights_give_the_same_gradient(registry):
    experiment = build_experiment(load_config("digits", ["trainer.device=cpu"], registry))
    experiment.generator.double()
    experiment.target.to("cpu", torch.float64)
    rng = torch.Generator().manual_seed(0)
    z = experiment.generator.latent(4, rng)
    x = torch.rand(4, 5, 1, 8, 8, generator=rng, dtype=torch.float64)
    labels = torch.randint(10, (4, 5), generator=rng)
    found = []
    for weights in (experiment.generator(z), experiment.gauge(experiment.generator(z))):
        loss = experiment.task.loss(experiment.target.forward(weights, x), labels).mean()
        found.append(torch.autograd.grad(loss, list(experiment.generator.parameters())))
    for raw, gauged in zip(*found, strict=True):
        torch.testing.assert_close(raw, gauged, rtol=1e-9, atol=1e-12)


def test_the_readmes_figures_are_those_of_the_results_pages():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    results = text[text.index("What `make train` gives") : text.index("## Command line")]
    measured = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "results").glob("*.md"))
    figures = re.findall(r"\d+\.\d+", results.partition("![")[0] + results.partition(".png)")[2])
    assert len(figures) > 10
    assert [figure for figure in figures if figure not in measured] == []


def table_rows(page):
    """The cells of a results page's tables, row by row, without those of their heads."""
    lines = (ROOT / "docs" / "results" / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def numbers(cell):
    return [float(number) for number in re.findall(r"\d+\.\d+", cell)]


@pytest.mark.parametrize(("page", "trainings", "means"), [("digits.md", 10, 1), ("digits_hypernetwork.md", 20, 4)])
def test_means_over_seeds_are_those_of_the_rows(page, trainings, means):
    seeds, found = [], []
    for row in table_rows(page):
        if row[0].isdecimal():
            seeds.append(row)
        elif ": mean ± deviation" in row[0]:
            chosen = [numbers(" ".join(one[1:])) for one in seeds[-10:]][: int(row[0].split()[2][0]) + 1]
            columns = [statistics.mean(column) for column in zip(*chosen, strict=True)]
            deviations = [statistics.stdev(column) for column in zip(*chosen, strict=True)]
            # Of the first cell the mean, none of worst and best; what the rows are rounded to.
            places = {0: 0.01, 4: 0.01, 5: 0.01, 6: 0.001, 7: 0.001, 8: 0.01, 9: 0.1}
            found.append(numbers(" ".join(row[1:])))
            for (place, rounding), *values in zip(places.items(), found[-1][::2], found[-1][1::2], strict=True):
                assert values == pytest.approx([columns[place], deviations[place]], abs=rounding)
    assert len(seeds) == trainings
    assert len(found) == means
    if page == "digits.md":
        return
    (same,) = [row for row in table_rows("initialisation.md")[:4] if row[0].startswith("authors', BatchNorm")]
    assert numbers(same[1] + same[2]) == found[3][:4]


@pytest.mark.slow
def test_the_readmes_own_module_works_as_printed(tmp_path, monkeypatch, capsys):
    (block,) = [block for block in blocks(ROOT / "README.md") if "load_breast_cancer" in block and "nn.Linear" in block]
    monkeypatch.chdir(tmp_path)
    with pytest.warns(hf.HyperframeWarning, match="work on standardised inputs"):
        module = module_of("own", block)
    figures = ast.literal_eval(capsys.readouterr().out)
    assert figures["ensemble"]["majority"] > 0.9
    assert module.run.step == 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["networks.safetensors", "runs"]


def test_what_was_saved_is_used_as_the_page_on_runs_says(tmp_path, monkeypatch, small):
    run, x = small(tmp_path / "run"), torch.rand(3, 1, 8, 8)
    run.save_pretrained(tmp_path / "runs" / "shared", 4)
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks(ROOT / "docs" / "runs.md") if "from_pretrained" in block]
    names = {"x": x}
    exec(block, names)
    assert torch.equal(names["probabilities"], names["members"].mean(0))
    assert (len(names["members"]), len(names["ensemble"].networks)) == (4, 50)


def test_logits_of_all_networks_stand_one_network_after_the_other(tmp_path, small):
    (block,) = [block for block in blocks(ROOT / "docs" / "runs.md") if "class AllLogits" in block]
    names, x = {}, torch.rand(3, 1, 8, 8)
    exec(block, names)
    ensemble = small(tmp_path / "run").ensemble(4)
    logits = names["AllLogits"](ensemble)(x)
    torch.testing.assert_close(logits.view(4, 3, 10).softmax(-1), ensemble.members(x))


def test_the_samples_read_as_the_page_on_runs_says(tmp_path, monkeypatch, small):
    run = small(tmp_path / "run")
    run.write_samples(tmp_path / "networks.safetensors", 5)
    monkeypatch.chdir(tmp_path)
    found = blocks(ROOT / "docs" / "runs.md")
    reading, of_header = [block for block in found if block.startswith(("from safetensors", "import json"))]
    net = run.sample(5)[3]
    state = module_of("reading", reading).state
    assert module_of("header", of_header).header["format"] == "hyperframe networks 1"
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
