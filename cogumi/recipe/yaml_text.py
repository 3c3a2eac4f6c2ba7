"""YAML text of recipes: the core schema of YAML 1.2, so that only true and false are booleans and a bare off is a text.

PyYAML reads YAML 1.1, where off, no, yes and on are booleans, 12:30 is 750 and 010 is 8.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_CORE = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     "-+.0123456789"),
    ("merge", r"<<", "<"),
)  # fmt: skip
"""Tag, the texts that have it (YAML 1.2.2, section 10.3.2), their first characters; `<<` as presets use it."""


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema, and no doubled keys, which SafeLoader lets through in silence."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 # PyYAML's own place

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _construct_int(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    try:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    except ValueError:  # an explicit !!int, or more digits than Python reads
        raise yaml.constructor.ConstructorError(None, None, f"{text[:40]!r} is no integer", node.start_mark) from None


for _tag, _texts, _first in _CORE:
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_texts})\Z"), list(_first))
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError, also for a key that stands twice."""
    return yaml.load(text, Loader=_CoreLoader)  # nosec B506 # a SafeLoader
