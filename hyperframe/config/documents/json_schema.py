"""The contents of a configuration file as JSON Schema (draft 2020-12): editors complete and check a file by it.

It is made of the declarations that `hyperframe.config.schema` checks a file by.
"""

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from hyperframe.config.import_path import FAMILIES, NAME
from hyperframe.config.kinds import KINDS, Kind
from hyperframe.config.overrides import KEY_HELP
from hyperframe.config.registry import Registered, Registry
from hyperframe.config.sections import SECTIONS, shipped_configs
from hyperframe.options import key_of, keys_of_task, plain_default

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ANALYSES = ("evaluation", "analyses")
"""Section and key that list analyses by name."""

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_BOUNDS = {"at least": "minimum", "at most": "maximum", "above": "exclusiveMinimum", "below": "exclusiveMaximum"}

Schema = dict[str, Any]


def json_schema(registry: Registry) -> Schema:
    """The schema of configuration files, with all components of a registry.

    A component is its name, or keys and values with its name; a target also a name of a family, such as
    `torchvision:resnet18`. Where a kind has a default, keys and values without a name are options of that. In a file
    that names a base they are options of the base's component, nothing is needed, and one item may stand for a list of
    it. What options say of each other is not in the schema, nor are targets `package.module:factory`, which no file can
    bring in.

    Example:
        >>> from hyperframe.config.registry import make_plugin_manager
        >>> schema = json_schema(Registry(make_plugin_manager()))
        >>> schema["$defs"]["generator.direct"]["properties"]["networks"]["minimum"]
        1
    """
    chosen = {kind.key: kind for kind in KINDS.values() if kind.key}
    components = {kind: [entry for entry in registry.all() if entry.kind == kind] for kind in KINDS}
    names = {kind: [entry.component.name for entry in own] for kind, own in components.items()}
    definitions = {
        f"{kind.name}.{entry.component.name}": _component(entry, names["task"])
        for kind in chosen.values()
        for entry in components[kind.name]
    }
    definitions |= {key: _section(key, cls, names["analysis"]) for key, cls in SECTIONS.items()}
    whole, over_base = (
        {key: _choice(kind, components[kind.name], based) for key, kind in chosen.items()} for based in (False, True)
    )
    for key in SECTIONS:
        whole[key] = {"anyOf": [_reference(key), {"type": "null"}]}
        over_base[key] = _reference(key)
    return {
        "$schema": DRAFT,
        "title": "configuration of hyperframe",
        "type": "object",
        "properties": {"base": _base(), **{key: {"description": help_} for key, help_ in KEY_HELP.items()}},
        "additionalProperties": False,
        "if": {"required": ["base"]},
        "then": {"properties": over_base},
        "else": {
            "properties": whole,
            "required": [key for key, kind in chosen.items() if kind.default is None],
        },
        "$defs": definitions,
    }


def _base() -> Schema:
    """The schema of the key that names another file."""
    help_ = "a configuration that ships, or a file, that has all keys which this file leaves out"
    return {"description": help_, "anyOf": [{"enum": list(shipped_configs())}, {"type": "string"}]}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _choice(kind: Kind, components: Sequence[Registered], based: bool) -> Schema:
    """The schema of a key that chooses components of a kind."""
    if not kind.many:
        return {"anyOf": _forms(kind, components, None if based else kind.default, based)}
    item = {"anyOf": _forms(kind, components, None, False)}
    listed = {"type": "array", "items": item, "uniqueItems": True}
    return {"anyOf": [listed, item]} if based else listed


def _forms(kind: Kind, components: Sequence[Registered], default: str | None, based: bool) -> list[Schema]:
    """The forms of one component: the name of each, then keys and values of each.

    Args:
        kind: of the components.
        components: all of them.
        default: which is meant where no name is given; of none also by nothing at all.
        based: a base may give the name, and whatever else is needed.
    """
    names: list[Schema] = []
    sections: list[Schema] = [] if default is None else [{"type": "null"}]
    for entry in components:
        name, needed = entry.component.name, _needed(entry)
        reference = _reference(f"{kind.name}.{name}")
        if not needed:
            names.append({"const": name, "description": entry.component.summary})
        if based:
            sections.append(reference)
        else:
            sections.append({**reference, "required": [*([] if name == default else [NAME]), *needed]})
        if name in FAMILIES:
            member = {"type": "string", "pattern": f"^{name}:"}
            names.append({**member, "description": entry.component.summary})
            if not based:
                others = [key for key in needed if key != FAMILIES[name]]
                sections.append({**reference, "properties": {NAME: member}, "required": [NAME, *others]})
    return names + sections


def _needed(entry: Registered) -> list[str]:
    left = keys_of_task(entry.component.options)
    fields = attrs.fields(entry.component.options)
    return [key_of(one) for one in fields if one.default is attrs.NOTHING and key_of(one) not in left]


def _component(entry: Registered, tasks: Sequence[str]) -> Schema:
    """The schema of one component's keys and values."""
    component, name = entry.component, entry.component.name
    named: Schema = {"const": name, "description": component.summary}
    if name in FAMILIES:
        named = {"anyOf": [named, {"type": "string", "pattern": f"^{name}:"}]}
    own, common = _options(component.options, tasks), _options(KINDS[entry.kind].common, tasks)
    return {
        "type": "object",
        "description": component.summary,
        "properties": {NAME: named, **own, **common},
        "additionalProperties": False,
    }


def _section(key: str, cls: type[Any], analyses: Sequence[str]) -> Schema:
    """The schema of a section that holds no component."""
    properties = _options(cls, ())
    section, listed = ANALYSES
    if key == section:
        properties[listed] |= {"items": {"enum": list(analyses)}, "uniqueItems": True}
    return {
        "type": "object",
        "description": KEY_HELP[key],
        "properties": properties,
        "additionalProperties": False,
    }


def _options(cls: type[Any], tasks: Sequence[str]) -> dict[str, Schema]:
    """The schema of each option of a class, by its key.

    Args:
        cls: an attrs class whose fields were declared with `hyperframe.options.option`.
        tasks: names of all tasks, one of which an option may name.
    """
    hints, left, found = typing.get_type_hints(cls), keys_of_task(cls), {}
    for field in attrs.fields(cls):
        key, kind, metadata = key_of(field), hints[field.name], field.metadata
        schema = _values(kind, metadata.get("bounds", {}))
        if metadata.get("names_task"):
            schema = {"enum": [*tasks, *([None] if type(None) in get_args(kind) else [])]}
        if key in left:
            schema = {"anyOf": [schema, {"type": "null"}]}
        schema = {"description": metadata.get("help", ""), **schema}
        if field.default is not attrs.NOTHING:
            schema["default"] = None if key in left else plain_default(field)
        found[key] = schema
    return found


def _values(kind: Any, bounds: Mapping[str, float]) -> Schema:
    """The schema of the values that a type and its bounds admit."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_values(arg, bounds) for arg in args]}
    if origin in (tuple, list):
        return {"type": "array", "items": _values(args[0], bounds)}
    limits = {_BOUNDS[word]: limit for word, limit in bounds.items()} if kind in (int, float) else {}
    return {"type": _PLAIN[kind], **limits} if kind in _PLAIN else {"not": {}}
