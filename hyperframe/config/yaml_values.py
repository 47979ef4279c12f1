"""YAML as configurations are read: what looks like a number, true, false or null is one, all else is a text.

The rules are those of YAML 1.2. YAML 1.1 has more: it takes `010` for 8, `12:30:00` for 45000, `1_000`
for 1000, `2024-05-01` for a date and `no` for false. Whatever would be cut or changed is a text instead.
"""

import re
from typing import Any

import yaml

_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""Values that are no texts: the pattern of each type and the characters with which it begins."""


class _Loader(yaml.SafeLoader):
    """Plain data, in which no key stands twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (as the base class has it)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"found duplicate key '{key.value}' in line {line}, which line {seen[key.value]} has too"
                )
            seen[key.value] = line
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        return content


for _type, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_type}", re.compile(f"(?:{_pattern})$"), [c.strip("\0") for c in _first]
    )


def load_yaml(text: str) -> Any:
    """Read a YAML document.

    Raises:
        yaml.YAMLError: it is none.

    Example:
        >>> load_yaml("{rate: 1e-3, folder: 007, day: 2024-05-01}")
        {'rate': 0.001, 'folder': '007', 'day': '2024-05-01'}
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506  (a loader of plain data)


def load_value(text: str) -> Any:
    """Read one value as it stands behind `KEY=`: a list, keys and values, or a quoted text in YAML; all else is plain.

    A plain text is taken as it stands, with what would begin a comment or a key in a file, and `~`, the home folder.

    Raises:
        yaml.YAMLError: it begins as a list, as keys and values or with a quote, and is none, or goes on behind its end.

    Example:
        >>> load_value("[1, 1e3]"), load_value("photos #2"), load_value("'1'"), load_value("null")
        ([1, 1000.0], 'photos #2', '1', None)
    """
    plain = text.strip()
    if plain[:1] not in ("[", "{", "'", '"'):
        as_text = plain == "~" or _tag_of(plain) == "tag:yaml.org,2002:str"
        return text if as_text else load_yaml(plain)
    node = yaml.compose(plain, Loader=_Loader)
    if node.end_mark.index != len(plain):
        raise yaml.YAMLError(f"it goes on behind its end: {plain[node.end_mark.index :].strip()}")
    return load_yaml(plain)


def _tag_of(plain: str) -> str:
    """The tag of a plain scalar."""
    loader = _Loader("")
    try:
        return str(loader.resolve(yaml.ScalarNode, plain, (True, False)))
    finally:
        loader.dispose()
