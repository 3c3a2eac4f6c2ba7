"""Loading: presets and files, KEY=VALUE overrides, every error with a suggestion. The only reader of recipe YAML."""

from __future__ import annotations

import difflib
import hashlib
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import orjson
import yaml
from pydantic import BaseModel, ValidationError

from cogumi.domain.cells import unknown_domains
from cogumi.errors import InputError
from cogumi.recipe.section import UnknownDomain
from cogumi.recipe.sections import Recipe
from cogumi.recipe.teacher_names import unknown_teachers
from cogumi.recipe.training import TrainSection
from cogumi.recipe.yaml_text import parse_yaml

_TRAIN = "train"
_UNKNOWN_KEY = "extra_forbidden"
"""The type of pydantic's error where a section has a key that it does not know."""
_KEY_SHAPE = re.compile(r"\b(sk|pk|rk|key|xai|gsk|hf|AKIA|ghp)[-_A-Z0-9][A-Za-z0-9_\-]{18,}")


def preset_folder() -> Path:
    """Where the presets lie: in the wheel under cogumi/, in a checkout under deployments/."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "recipes"
    return packed if packed.is_dir() else package.parent / "deployments" / "recipes"


def preset_names() -> list[str]:
    return sorted(path.stem for path in preset_folder().glob("*.yaml"))


def train_preset_names() -> list[str]:
    """What a recipe's train.preset may name."""
    return sorted(path.stem for path in (preset_folder() / _TRAIN).glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a preset or file, apply KEY=VALUE overrides, check every key.

    Raises InputError: recipe-not-found, recipe-not-yaml, recipe-bad-override, secret-in-recipe; recipe-unknown-key,
    recipe-bad-value, domain-unknown, or recipe-several-faults where there are faults of more than one of these.
    """
    raw = _read_yaml(_locate(name_or_path))
    faults = [fault for override in overrides or [] if (fault := _apply_override(raw, override))]
    if faults:
        raise InputError("recipe-bad-override", "\n    ".join(faults))
    return check_recipe(raw)


def check_recipe(raw: dict[str, Any]) -> Recipe:
    """A Recipe from plain data, with the same checks as from a file."""
    _refuse_secrets(raw, ())
    try:
        return Recipe.model_validate(_with_train_preset(raw))
    except ValidationError as error:
        raise _explain(error, unknown_teachers(raw)) from None


def _with_train_preset(raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the values of train.preset below those it gives itself. Raises InputError recipe-not-found."""
    given = raw.get(_TRAIN)
    if not isinstance(given, dict):
        return raw
    name = str(given.get("preset", TrainSection.model_fields["preset"].default))
    file = preset_folder() / _TRAIN / f"{name}.yaml"
    if not re.fullmatch(r"[\w.-]+", name) or not file.is_file():
        raise InputError("recipe-not-found", f"train.preset {name!r}; presets: {', '.join(train_preset_names())}")
    return {**raw, _TRAIN: _laid_over(_read_yaml(file), given)}


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` wins, key by key in sections of both."""
    both = {key: _laid_over(below[key], value) for key, value in above.items()
            if isinstance(value, dict) and isinstance(below.get(key), dict)}  # fmt: skip
    return {**below, **above, **both}


def as_of_period(recipe: Recipe, period: str) -> Recipe:
    """The recipe with the period in its seed; without a period unchanged."""
    if not period:
        return recipe
    seed = int.from_bytes(hashlib.sha256(f"{recipe.seed}/{period}".encode()).digest()[:4], "big")
    return recipe.model_copy(update={"seed": seed})


def content_hash(value: Any) -> str:
    """16 hex digits of sha256 over canonical JSON: the identity used by memos, receipts and cache keys."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def hash_all(values: Iterable[Any]) -> str:
    """16 hex digits of sha256 over the canonical JSON of many values, one at a time."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
    return digest.hexdigest()[:16]


def _locate(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    preset = preset_folder() / f"{name_or_path}.yaml"
    if re.fullmatch(r"[\w.-]+", name_or_path) and preset.is_file():
        return preset
    close = difflib.get_close_matches(name_or_path, preset_names(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; presets: {', '.join(preset_names())}"
    raise InputError("recipe-not-found", f"{name_or_path!r}{hint}")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = parse_yaml(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError("recipe-not-yaml", f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise InputError("recipe-not-yaml", f"{path}: expected a mapping at the top, found {type(raw).__name__}")
    return raw


def _apply_override(raw: dict[str, Any], override: str) -> str:
    """Change `raw` as KEY=VALUE says; returns why it cannot be, or ""."""
    dotted, sign, text = override.partition("=")
    keys = dotted.split(".")
    if not sign or not all(keys):
        return repr(override)
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        return f"{override!r}: {error}"
    at = raw
    for key in keys[:-1]:
        at = at.setdefault(key, {})
        if not isinstance(at, dict):
            return f"{override!r}: {key!r} is a value, not a section"
    at[keys[-1]] = value
    return ""


def _refuse_secrets(value: Any, where: tuple[str, ...]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_secrets(inner, (*where, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_secrets(inner, (*where, str(index)))
    elif isinstance(value, str) and _KEY_SHAPE.search(value):
        raise InputError("secret-in-recipe", f"at {'.'.join(where)} (value not shown)")


def _names_no_domain(problem: Mapping[str, Any]) -> bool:
    return isinstance(problem.get("ctx", {}).get("error"), UnknownDomain)


def _explain(error: ValidationError, teachers: list[str]) -> InputError:
    """Every problem in one InputError, one per line: unknown keys, bad values, unknown teachers and domains. A missing
    key is not named where its section has an unknown one, which explains it.
    """
    problems = error.errors()
    unknown = [problem["loc"] for problem in problems if problem["type"] == _UNKNOWN_KEY]
    explained = {where[:-1] for where in unknown}
    values = [
        _bad_value(problem)
        for problem in problems
        if problem["type"] != _UNKNOWN_KEY
        and not _names_no_domain(problem)
        and not (problem["type"] == "missing" and problem["loc"][:-1] in explained)
    ]
    values += [told for told in teachers if not any(told in value for value in values)]
    domains = sorted({str(problem["input"]) for problem in problems if _names_no_domain(problem)})
    faults = {
        "recipe-unknown-key": list(map(_unknown_key, unknown)),
        "recipe-bad-value": values,
        "domain-unknown": [unknown_domains(domains)] if domains else [],
    }
    kinds = {code: lines for code, lines in faults.items() if lines}
    if len(kinds) == 1:
        ((code, lines),) = kinds.items()
        return InputError(code, "\n    ".join(lines))
    named = [f"unknown key {line}" for line in kinds.pop("recipe-unknown-key", [])]
    return InputError("recipe-several-faults", "\n    ".join([*named, *(line for of in kinds.values() for line in of)]))


def _unknown_key(where: tuple[int | str, ...]) -> str:
    known = _known_keys(Recipe, where[:-1])
    close = difflib.get_close_matches(str(where[-1]), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; keys here: {', '.join(known)}"
    return ".".join(map(str, where)) + hint


def _bad_value(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "recipe"
    given = "" if problem["type"] == "missing" else f" (given: {str(problem['input'])[:60]!r})"
    return f"{where}: {problem['msg']}{given}"


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at `path`, following sections and dictionaries of sections."""
    here: Any = model
    for part in path:
        here = here.model_fields[part].annotation if _is_section(here) else get_args(here)[-1]
        if get_origin(here) in (Union, types.UnionType):
            here = get_args(here)[0]
    return list(here.model_fields) if _is_section(here) else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
