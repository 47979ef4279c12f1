"""Configurations with a comment for every key: for `hyperframe config` and for the reference page."""

import json
from typing import Any

import attrs
import yaml

from hyperframe.config.choices import Choice
from hyperframe.config.kinds import KINDS
from hyperframe.config.overrides import KEY_HELP, LISTS, SINGLE
from hyperframe.config.schema import Config
from hyperframe.config.sections import SECTIONS
from hyperframe.config.yaml_values import load_value
from hyperframe.options import key_of

WIDTH = 44


def commented_yaml(config: Config) -> str:
    """A complete configuration as YAML that can be given back to `hyperframe train`, with a comment for every key."""
    lines = [f"# {config.name}: complete, every key with its value"]
    plain = config.plain()
    for key, help_ in KEY_HELP.items():
        value = plain[key]
        if key in SINGLE:
            lines += ["", f"{key}:  # {help_}", *_component(getattr(config, key), value, "  ")]
        elif key in LISTS:
            empty = " []" if not value else ""
            lines += ["", f"{key}:{empty}  # {help_}"]
            for choice, item in zip(getattr(config, key), value, strict=True):
                first, *others = _component(choice, item, "    ")
                lines += ["  - " + first.strip(), *others]
        else:
            lines += ["", f"{key}:  # {help_}", *_options(SECTIONS[key], value, "  ")]
    return "\n".join(lines) + "\n"


def help_of(cls: type[Any]) -> dict[str, str]:
    """Each option's one line of help, by key."""
    return {key_of(field): field.metadata.get("help", "") for field in attrs.fields(cls)}


def _component(choice: Choice, plain: dict[str, Any], indent: str) -> list[str]:
    component = choice.registered.component
    lines = [_line(f"{indent}name: {choice.name}", component.summary)]
    shared = KINDS[choice.registered.kind]
    common = {key: plain[key] for key in shared.common_keys}
    options = {key: value for key, value in plain.items() if key != "name" and key not in common}
    return lines + _options(component.options, options, indent) + _options(shared.common, common, indent)


def _options(cls: type[Any], values: dict[str, Any], indent: str) -> list[str]:
    helps = help_of(cls)
    return [_line(f"{indent}{key}: {_scalar(value)}", helps[key]) for key, value in values.items()]


def _line(text: str, comment: str) -> str:
    return f"{text:<{WIDTH}}  # {comment}" if comment else text


def _scalar(value: Any) -> str:
    text = str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("\n").removesuffix("\n...")
    # The reader takes some texts for numbers, such as 1e3, that the writer does not.
    return text if not isinstance(value, str) or load_value(text) == value else json.dumps(value)
