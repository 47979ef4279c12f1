"""Commands that need no torch do not import it, lazy names are those that type checkers see, and commands are added."""

import ast
import contextlib
import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import hyperframe as hf
from hyperframe.analysis.distillation import distill, student
from hyperframe.bench.speed import timings
from hyperframe.cli.commands import bench as bench_commands
from hyperframe.cli.commands import components
from hyperframe.cli.commands import distill as distill_command
from hyperframe.cli.completion import complete_run
from hyperframe.cli.main import main, run_command_line
from hyperframe.config.kinds import KINDS
from hyperframe.config.sections import shipped_configs

TOLD = """
import atexit, sys
atexit.register(lambda: print("torch" if "torch" in sys.modules else "no torch", file=sys.stderr))
import hyperframe_launcher
sys.argv[0] = "hyperframe"
hyperframe_launcher.main()
"""


def launch(folder, *arguments, **environment):
    """The launcher in a process of its own; the last line of its messages says whether torch was imported."""
    command = [sys.executable, "-c", TOLD, *arguments]
    path = os.pathsep.join([str(folder), *sys.path])  # the library that is tried here, which may be a mutant
    settings = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HOME": str(folder), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=settings, cwd=folder, check=False)


def complete(folder, line):
    words = line.split(" ")
    number = str(len(words) - 1)
    done = launch(folder, _HYPERFRAME_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=number)
    assert (done.returncode, done.stderr.split()[-2:]) == (0, ["no", "torch"])
    return done.stdout.split()


def commands(group, *above):
    for name, command in group.commands.items():
        yield (*above, name)
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, "hyperframe, version "),
        (["--help"], 0, "Usage: hyperframe"),
        (["train", "--help"], 0, "Usage: hyperframe train"),
        (["trian"], 2, "No such command 'trian'"),
        (["train", "--sed=3"], 2, "No such option"),
    ],
)
def test_what_click_answers_imports_no_torch(tmp_path, arguments, code, said):
    done = launch(tmp_path, *arguments)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert done.stderr.endswith("no torch\n")


def test_no_commands_help_imports_torch(tmp_path):
    asked = [[*names, "--help"] for names in commands(main)]
    program = f"""
import sys
from hyperframe.cli.main import main, run_command_line
for arguments in {asked!r}:
    main(arguments, standalone_mode=False)
    assert "torch" not in sys.modules, arguments
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(asked) > 20


def test_a_body_begins_with_what_the_launcher_hands_over(hyperframe, monkeypatch):  # in an empty folder
    begun = []
    monkeypatch.setattr(sys, "argv", ["hyperframe", "config", "--list"])
    run_command_line(begin=lambda: begun.append(True))
    assert begun == [True]
    monkeypatch.setattr(sys, "argv", ["hyperframe", "config", "--help"])
    with contextlib.suppress(SystemExit):
        run_command_line(begin=lambda: begun.append(True))
    assert begun == [True]


def test_a_library_that_cannot_be_loaded_is_no_output_that_cannot_be_written(hyperframe, monkeypatch):
    def begin():
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(sys, "argv", ["hyperframe", "config", "--list"])
    with pytest.raises(OSError, match="libcudart"):
        run_command_line(begin=begin)


@pytest.mark.slow
def test_a_command_runs_with_torch_set_up(tmp_path):
    (tmp_path / "shown.py").write_text(
        "import click, torch\n"
        "@click.command()\ndef shown():\n    click.echo(float(torch.tensor([1e-39]) * torch.tensor([1.0])))\n"
    )
    declare(tmp_path, "shown = shown:shown")
    assert float(launch(tmp_path, "shown").stdout) == 0


def test_a_shell_is_offered_commands_configurations_and_keys(tmp_path):
    assert complete(tmp_path, "hyperframe tr") == ["plain,train"]
    assert complete(tmp_path, "hyperframe train mnist") == [
        f"plain,{name}" for name in shipped_configs() if name.startswith("mnist")
    ]
    assert complete(tmp_path, "hyperframe train digits trainer.checkpoint_") == ["plain,trainer.checkpoint_every="]
    assert complete(tmp_path, "hyperframe train digits trainer.fro") == ["plain,trainer.from="]
    assert complete(tmp_path, "hyperframe train own/") == ["file,own/"]


def test_a_shell_is_offered_runs(tmp_path, monkeypatch):
    for name in ("runs/digits-2", "runs/digits-1", "mine", "elsewhere/one", "elsewhere/two", "runs/other"):
        (tmp_path / name).mkdir(parents=True)
        if name != "runs/other":
            (tmp_path / name / "config.yaml").touch()
    assert complete(tmp_path, "hyperframe evaluate ") == ["plain,mine", "plain,runs/digits-1", "plain,runs/digits-2"]
    monkeypatch.chdir(tmp_path)
    found = {begun: [item.value for item in complete_run(None, None, begun)] for begun in ("ru", "elsewhere/t", "x")}
    assert found == {"ru": ["runs/digits-1", "runs/digits-2"], "elsewhere/t": ["elsewhere/two"], "x": ["x"]}


@pytest.mark.slow
def test_a_run_is_found_by_what_a_shell_offers(small, tmp_path, monkeypatch):
    small(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert [item.value for item in complete_run(None, None, "r")] == ["run"]


def test_commands_repeat_the_librarys_defaults():
    options = student.DistillationOptions()
    assert (distill.METHODS, options.steps) == (distill_command.METHODS, distill_command.STEPS)
    assert (bench_commands.NETWORKS, bench_commands.EXAMPLES) == (timings.NETWORKS, timings.EXAMPLES)
    assert (list(bench_commands.TIMED), bench_commands.TAKES) == (list(timings.BENCHMARKS), timings.TAKES)
    assert sorted(components.LAWFUL) == sorted(set(KINDS) - {"analysis"})


def test_lazy_names_are_those_that_type_checkers_see():
    tree = ast.parse(Path(hf.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert {name for name, module in seen.items() if module == "hyperframe"} == set(hf._WINGS)
    assert {name: module for name, module in seen.items() if module != "hyperframe"} == hf._PLACES
    assert set(hf.__all__) == {*hf._PLACES, "__version__"}


def test_all_public_names_are_there():
    space = {}
    exec("from hyperframe import *", space)
    assert set(hf.__all__) <= set(space)
    assert set(hf.__all__) | set(hf._WINGS) <= set(dir(hf))
    for name, module in hf._PLACES.items():
        assert getattr(hf, name) is getattr(sys.modules[module], name)
    assert hf.analysis is sys.modules["hyperframe.analysis"]
    with pytest.raises(AttributeError, match="module 'hyperframe' has no attribute 'trian'"):
        hf.trian  # noqa: B018
    with pytest.raises(ImportError):
        exec("from hyperframe import trian")


def test_public_classes_are_pickled_by_their_names():
    for name in hf.__all__:
        value = getattr(hf, name)
        if isinstance(value, type):
            assert pickle.loads(pickle.dumps(value)) is value
            assert copy.copy(value) is value


def declare(folder, *lines, distribution="shop"):
    info = folder / f"{distribution}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("\n".join(["[hyperframe.commands]", *lines, ""]))


def test_commands_of_others_are_listed_without_being_imported(tmp_path):
    declare(tmp_path, "greet = shop_commands:greet", "train = shop_commands:train", "gone = absent:gone")
    declare(tmp_path, "wrong = shop_commands:number", distribution="mall")
    (tmp_path / "shop_commands.py").write_text(
        'import click\nprint("imported")\nnumber = 3\n'
        '@click.command()\n@click.option("--loud", is_flag=True)\ndef greet(loud):\n'
        '    """Say hello."""\n    click.echo("HELLO" if loud else "hello")\n'
    )
    listed = launch(tmp_path, "--help")
    assert listed.returncode == 0
    assert "\n  greet       Added by shop 1.2.\n" in listed.stdout
    assert "\n  wrong       Added by mall 1.2.\n" in listed.stdout
    assert "imported" not in listed.stdout
    assert "hyperframe: shop adds a command 'train', which there is already; it is left out" in listed.stderr
    assert listed.stderr.endswith("no torch\n")

    helped = launch(tmp_path, "greet", "--help")
    assert "Say hello." in helped.stdout
    assert helped.stderr.endswith("no torch\n")
    assert complete(tmp_path, "hyperframe greet --l") == ["imported", "plain,--loud"]
    gone = launch(tmp_path, "gone")
    assert gone.returncode == 2
    assert "shop 1.2: the command 'gone' (absent:gone) cannot be imported: ModuleNotFoundError" in gone.stderr
    wrong = launch(tmp_path, "wrong")
    assert wrong.returncode == 2
    assert "mall 1.2: the command 'wrong' (shop_commands:number) must be a click command, not int" in wrong.stderr
    limited = launch(tmp_path, "--help", HYPERFRAME_PLUGINS="mall")
    assert "greet" not in limited.stdout
    assert "wrong" in limited.stdout


@pytest.mark.slow
def test_a_command_of_others_runs(tmp_path):
    declare(tmp_path, "greet = shop_commands:greet")
    (tmp_path / "shop_commands.py").write_text(
        "import click\nimport hyperframe as hf\n"
        '@click.command()\n@click.argument("name")\ndef greet(name):\n'
        '    if name == "nobody":\n        raise hf.HyperframeError("name somebody")\n    click.echo(f"hello {name}")\n'
    )
    done = launch(tmp_path, "greet", "you")
    assert (done.returncode, done.stdout) == (0, "hello you\n")
    done = launch(tmp_path, "greet", "nobody")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "hyperframe: name somebody")
