"""Write the pages that follow from the code: configuration.md, analyses.md, cli.md, laws.md and api.md.

`python docs/generate.py` writes them; `python docs/generate.py --check` writes nothing, names each page that differs
from what the code says, and exits with 1. Plugins of third parties take no part.
"""

import argparse
import inspect
import os
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import yaml

import hyperframe
import hyperframe.sklearn
import hyperframe.tasks.structured
import hyperframe.tasks.term_inputs
import hyperframe.testing.examples
import hyperframe.testing.strategies
from hyperframe.cli.main import main as command_line
from hyperframe.config.documents.commented_yaml import commented_yaml
from hyperframe.config.overrides import KEY_HELP, LISTS, SINGLE
from hyperframe.config.registry import Registered, Registry, make_plugin_manager
from hyperframe.config.schema import load_config
from hyperframe.config.sections import SECTIONS, shipped_configs
from hyperframe.entry_points import LIMIT_VARIABLE, OWN_DISTRIBUTION
from hyperframe.options import expected, key_of, keys_of_task, plain_options
from hyperframe.testing.kit import BUILT, LAWS
from hyperframe.testing.laws import Law

FOLDER = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py; change the code, then run it. -->"
WIDTH = 100

CONFIGURATION = f"""\
# Configuration

{NOTE}

A configuration names the components of an experiment and their options. `hyperframe config NAME` prints one that is
complete; save it, change it, and give the file to `hyperframe train`.

- A component's section is a mapping with a name, such as `task: {{name: mnist, download: true}}`. The bare name,
  `task: mnist`, stands for the component with its default options.
- `KEY=VALUE` on the command line changes one key. VALUE is YAML: `trainer.rate=1e-3`, `gauges=[scale]`,
  `diversity.0.weight=2` (items of a list are numbered from 0).
- What does not begin as a list, as keys and values or with a quote is taken as it stands: `task.folder=photos #2`.
  Numbers are those of YAML 1.2: `010`, `1_000`, `12:30:00`, dates, `yes` and `no` are texts. Quotes make texts of
  numbers: `'task.folder="7"'`. `~` is the home folder (`null` is nothing), and a key without a value or given twice is
  an error.
- Names are applied before options, so the order of the arguments does not matter. A new name drops the old options.
- A file that changes little names its base: with `base: mnist` at the top all that it leaves out is as there. The base
  is a name that ships or a file, whose path is seen from the file that names it, and may have a base of its own. A
  component of another name and a list replace those of the base; options of the same component are added to its.
- Editors with yaml-language-server complete and check a file whose first line names the JSON Schema that
  `hyperframe config --schema > hyperframe.json` writes: `# yaml-language-server: $schema=hyperframe.json`. It has the
  components that are installed, so write it again when these change.
- Whole numbers may be written with an exponent: `1e3` is 1000. Interpolations (`${{...}}`) are refused.
"""

COMPONENTS = """\
## Data and priors of each network's own

Networks that agree on the training data need not agree elsewhere. Two options make them differ there, as functions of
z alone:

- `objective.bootstrap` gives each network data of its own: what an example counts follows from the network's z and the
  example's number, and is the same in every step.
- `prior.functions` adds to each network's outputs a mixture of its own of fixed random networks, which training can
  learn to cancel only where there are data. The coefficients are weights of the target (its layer "prior functions"):
  files, analyses and distillation take them as they take the others, but nothing trains them, and no diversity term
  counts them. In a state_dict the target's own parameters then stand below `network.`, beside those of `prior.`.
  `prior.scale` is the standard deviation of what is added; about that of the answers is a good start.

```yaml
objective: {lambda: 1000, bootstrap: exponential}
prior: {functions: 8, scale: 1.0}
```

They are meant for joint predictions of several inputs, for exploration and for active learning (I. Osband et al. 2018,
2022); what they bring there has not been measured here yet. Leave them out where single predictions in the domain of
the data are all that counts: each network learns from fewer examples, or has a random function to cancel.

## Components that ship

References without an author are to the paper, [arXiv:1905.02898](https://arxiv.org/abs/1905.02898). Each item of
`diversity` also takes `weight` (a number, by default 1.0): what the term counts in the loss. Each `target` also takes
`generate`, `adapter`, `rank` and `weights`: [part of a network](target.md#part-of-a-network).
"""

ANALYSES_PAGE = f"""\
# Analyses

{NOTE}

What can be found out about a run that is trained. `hyperframe report RUN` runs all analyses that apply to the run and
puts them on one page ([Reports](report.md)); `hyperframe analyse RUN NAME...` runs single ones.

- Results are kept in `RUN/analyses/NAME/results.json`, pictures beside them.
- Options are written behind the run: `hyperframe analyse RUN ensembles ensembles.draws=5`.
- Random numbers come from `evaluation.seed`: the same run, step and options give the same results.
- An analysis that is interrupted keeps what is done in parts, and goes on from there when it is run again.
- One that has nothing to say about a run, such as one of probabilities about a regression, says so.

[hyperframe_analyses](hooks.md) is how others add theirs.
"""

COMMANDS = f"""\
# Command line

{NOTE}

`hyperframe COMMAND --help` prints these texts. A mistake that you can mend gives one message and exit code 2.

A shell completes commands, options, configurations that ship, keys of `trainer`, `evaluation` and `prior`, and run
folders (those in `runs/`, in the current folder, and where the path that is begun leads) once it has been told how:

```bash
eval "$(_HYPERFRAME_COMPLETE=bash_source hyperframe)"       # in ~/.bashrc
eval "$(_HYPERFRAME_COMPLETE=zsh_source hyperframe)"        # in ~/.zshrc
_HYPERFRAME_COMPLETE=fish_source hyperframe | source        # in ~/.config/fish/completions/hyperframe.fish
```
"""

LAWS_PAGE = f"""\
# Laws

{NOTE}

What a component of each kind must keep; `hyperframe check NAME` tries it ([Prove it](prove.md)).
"""

API_PAGE = f"""\
# Python API

{NOTE}

What is public, by who needs it. The examples run as tests.
"""

API = {
    hyperframe: "Train, go on, load, draw and distil; and what every component is made with.",
    hyperframe.sklearn: "Estimators in scikit-learn's form.",
    hyperframe.targets: "For authors of targets and gauges: specs, symmetries, and layouts of weights.",
    hyperframe.networks: "For authors of generators.",
    hyperframe.types: "What a component of each kind promises.",
    hyperframe.tasks.structured: "For authors of tasks whose outputs are not one vector ([Tasks](task.md)).",
    hyperframe.tasks.term_inputs: "For authors of diversity terms: inputs on which networks may differ.",
    hyperframe.analysis: "For authors of analyses.",
    hyperframe.errors: "What can be raised, and notices.",
    hyperframe.testing: "The conformance kit.",
    hyperframe.testing.strategies: "Strategies for hypothesis.",
    hyperframe.testing.examples: "Example networks.",
}
"""The modules with public names, and what these are for; a name is shown where it stands first."""


def configuration() -> str:
    """The page of configurations: what ships, then every key."""
    registry = Registry(make_plugin_manager())
    complete = {name: commented_yaml(load_config(name, [], registry)) for name in shipped_configs()}
    kinds = {**SINGLE, **LISTS}
    parts = [CONFIGURATION, "## Keys\n", _table(["key", "holds"], ([f"`{key}`", KEY_HELP[key]] for key in KEY_HELP))]
    parts += ["## Configurations that ship\n", *(f"### {name}\n\n```yaml\n{complete[name]}```\n" for name in complete)]
    parts.append("## Sections\n")
    parts += [f"### {key}\n\n{_sentence(KEY_HELP[key])}\n\n{_options(cls)}" for key, cls in SECTIONS.items()]
    parts.append(COMPONENTS)
    for key in (key for key in KEY_HELP if key in kinds):
        parts.append(f"### {key}\n")
        parts += [_component(entry) for entry in registry.all() if entry.kind == kinds[key] and _own(entry)]
    return "\n".join(parts)


def commands() -> str:
    """The page of commands: each one's help text."""
    return "\n".join([COMMANDS, *_help(command_line, "hyperframe", None)])


def analyses() -> str:
    """The page of analyses: each with its options."""
    own = [entry for entry in Registry(make_plugin_manager()).all() if entry.kind == "analysis" and _own(entry)]
    return "\n".join([ANALYSES_PAGE, *(_component(entry).replace("#### ", "## ", 1) for entry in own)])


def _own(entry: Registered) -> bool:
    return entry.source.distribution == OWN_DISTRIBUTION


def _component(entry: Registered) -> str:
    component = entry.component
    reference = f"\n\nReference: {component.reference}." if component.reference else ""
    return f"#### {component.name}\n\n{_sentence(component.summary)}{reference}\n\n{_options(component.options)}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _options(cls: type) -> str:
    if not attrs.fields(cls):
        return "No options.\n"
    hints = typing.get_type_hints(cls)
    required = {field.name: "…" for field in attrs.fields(cls) if field.default is attrs.NOTHING}
    defaults = plain_options(cls(**required))
    rows, left = [], keys_of_task(cls)
    for field in attrs.fields(cls):
        default = (
            "needed"
            if field.name in required
            else "null"
            if key_of(field) in left
            else yaml.safe_dump(defaults[key_of(field)], default_flow_style=True, width=1000)
        )
        words = expected(hints[field.name], field.metadata.get("bounds"))
        cells = key_of(field), words, default.removesuffix("\n").removesuffix("\n...")
        rows.append([f"`{cells[0]}`", cells[1], f"`{cells[2]}`", field.metadata.get("help", "")])
    return _table(["key", "value", "default", "meaning"], rows)


def _table(head: list[str], rows: typing.Iterable[typing.Iterable[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, parent=parent, **{**command.context_settings, "terminal_width": WIDTH}
    )
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for own in sorted(command.commands):
            yield from _help(command.commands[own], own, context)


def laws() -> str:
    """The page of laws: those of each kind of component."""
    parts = [LAWS_PAGE]
    for kind, own in LAWS.items():
        parts.append(f"## {kind}\n")
        parts.append(_table(["check", "what must hold", "usual cause where it does not"], _law_rows((BUILT, *own))))
    return "\n".join(parts)


def _law_rows(own: typing.Iterable[Law]) -> Iterator[list[str]]:
    for law in own:
        yield [f"`{law.name}`", law.text, law.cause]


def api() -> str:
    """The page of the Python API: every public name with its docstring."""
    parts, shown = [API_PAGE], set()
    for module, purpose in API.items():
        parts.append(f"## {module.__name__}\n\n{purpose}\n")
        for name in sorted(public_names(module), key=str.lower):
            value = getattr(module, name)
            if (name, id(value)) not in shown and not inspect.ismodule(value):
                shown.add((name, id(value)))
                parts += _described(name, value)
    return "\n".join(parts)


def public_names(module: types.ModuleType) -> list[str]:
    """The names that a module makes public: its `__all__`, or all that it defines without an underscore."""
    return getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _described(name: str, value: object) -> Iterator[str]:
    """A name, its signature and its docstring; of a class also its public methods."""
    yield f"### {name}\n"
    if isinstance(value, types.GenericAlias):
        yield f"```text\n{name} = {value}\n```\n"
        return
    if not callable(value) or not inspect.getdoc(value):
        return
    yield f"```text\n{name}{_signature(value)}\n\n{inspect.getdoc(value)}\n```\n"
    if isinstance(value, type):
        for own, method in vars(value).items():
            described = inspect.getdoc(method) or ""
            if not own.startswith("_") and inspect.isfunction(method) and described:
                yield f"- `{own}{_signature(method)}`: {described.partition(chr(10))[0]}"
        yield ""


def _signature(value: typing.Callable[..., object]) -> str:
    try:
        signature = inspect.signature(value)
    except ValueError:
        return "(...)"
    # Names and defaults only: how annotations are written differs from version to version.
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


PAGES = {
    "configuration.md": configuration,
    "analyses.md": analyses,
    "cli.md": commands,
    "laws.md": laws,
    "api.md": api,
}


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page differs")
    check = parser.parse_args(arguments).check
    os.environ[LIMIT_VARIABLE] = ""
    drifted = []
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            drifted.append(f"docs/{name}")
        else:
            path.write_text(text, encoding="utf-8")
    for page in drifted:
        print(f"{page} differs from the code; run: python docs/generate.py", file=sys.stderr)
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
