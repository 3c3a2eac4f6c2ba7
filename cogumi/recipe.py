"""Recipe: one strict YAML that says a whole run. This is the only file that reads YAML recipes.

    recipe = load_recipe("demo", overrides=["dataset.judge.pass_mean=7.5"])

Presets lie in deployments/recipes (in the wheel: cogumi/recipes). An unknown key is an error with a suggestion.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cogumi.errors import InputError

Count = Annotated[int, Field(ge=0, le=10_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
_KEY_SHAPE = re.compile(r"\b(sk|pk|rk|key|xai|gsk|hf|AKIA|ghp)[-_A-Z0-9][A-Za-z0-9_\-]{18,}")


class Section(BaseModel):
    """A part of the recipe: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TeacherSection(Section):
    """One LLM endpoint. Model ids are values of the recipe, never code."""

    wire: Literal["openai", "anthropic", "procedural"] = Field(
        description="wire format; procedural answers in process, without network or key"
    )
    provider: str = Field("", description="label in ledger, prices and request keys; empty means the wire's name")
    model: str = Field(description="the provider's model id")
    base_url: str = Field(
        "", description="API root, with /v1 for openai; 'loopback' starts the embedded provider for this run"
    )
    api_key_env: str = Field("", description="name of the environment variable that holds the key; empty sends none")
    allow_loopback_http: bool = Field(False, description="accept http:// on a loopback address")
    rpm: float | None = Field(None, gt=0, description="requests a minute; None means what the provider's headers say")
    tpm: float | None = Field(None, gt=0, description="tokens a minute, prompt and completion; None as for rpm")
    in_flight: int = Field(32, ge=1, le=2000, description="requests open at once")
    timeout_s: float = Field(120, gt=0, description="deadline of one attempt, first byte to last")
    max_attempts: int = Field(3, ge=1, le=10, description="attempts a request, rate limits not counted")
    backoff_s: list[float] = Field(
        [2, 4, 8], min_length=1, description="wait before attempt 2, 3, 4 ...; the last value repeats"
    )
    usd_per_mtok_in: float | None = Field(None, ge=0, description="overrides the price table")
    usd_per_mtok_out: float | None = Field(None, ge=0, description="overrides the price table")
    training_allowed: Literal["yes", "no", "unknown"] = Field(
        "unknown", description="whether the provider's terms allow training on outputs"
    )

    @property
    def label(self) -> str:
        return self.provider or self.wire


class QuestionsSection(Section):
    """Stage 1: questions, ten a call by default (spec section 1.1)."""

    teacher: str = Field(description="key under teachers")
    teacher_by_domain: dict[str, str] = Field(default_factory=dict, description="other teachers for some domains")
    per_call: int = Field(10, ge=1, le=100, description="questions asked for in one call")
    max_tokens: int = Field(4096, ge=64, description="completion tokens a call")
    temperature: float | None = Field(
        0.7, ge=0, le=2, description="None sends none, as current Anthropic models require"
    )


class JudgeSection(Section):
    """Stage 2: four scores a question, pass at mean >= pass_mean (spec section 1.2)."""

    teacher: str = Field(description="key under teachers")
    per_call: int = Field(10, ge=1, le=100, description="questions judged in one call, hidden ones included")
    workers: int = Field(10, ge=1, le=200, description="judge calls open at once")
    pass_mean: float = Field(7.0, ge=0, le=10, description="mean of the four scores needed to pass")
    hidden_share: Share = Field(
        0.1, description="share of each call that is known-good or known-bad, to measure the judge"
    )
    max_tokens: int = Field(4096, ge=64, description="completion tokens a call")
    temperature: float | None = Field(0.0, ge=0, le=2, description="None sends none")


class AnswersSection(Section):
    """Stage 3: one call an answer."""

    teacher: str = Field(description="key under teachers")
    workers: int = Field(10, ge=1, le=500, description="answer calls open at once")
    max_tokens: int = Field(
        500, ge=16, description="completion tokens; a truncated reply is asked again with twice as many"
    )
    max_tokens_cap: int = Field(8192, ge=16, description="a reply still truncated here counts as rejected")
    temperature: float | None = Field(0.7, ge=0, le=2, description="None sends none")
    tries: int = Field(3, ge=1, le=10, description="replies bought for one question before the question is replaced")


class DatasetSection(Section):
    """Phase 1: exact counts per (domain, difficulty) cell."""

    cells: dict[str, dict[Literal["easy", "hard"], Count]] = Field(description="rows per domain and difficulty")
    questions: QuestionsSection = Field(description="stage 1")
    judge: JudgeSection = Field(description="stage 2")
    answers_easy: AnswersSection = Field(description="stage 3, easy questions")
    answers_hard: AnswersSection = Field(description="stage 3, hard questions")
    shard_rows: int = Field(1000, ge=10, le=5000, description="rows of one Prefect task")
    max_rounds: int = Field(40, ge=1, description="rounds of asking before a cell is given up")
    checkpoint_rows: int = Field(1000, ge=10, description="rows between questions_checkpoint_*.jsonl exports")

    @property
    def rows(self) -> int:
        return sum(sum(counts.values()) for counts in self.cells.values())


class BudgetSection(Section):
    """The contract with money."""

    max_usd: float | None = Field(None, ge=0, description="hard stop, in-flight calls counted; None means no limit")


class LoopbackSection(Section):
    """The embedded provider, started where a teacher's base_url is 'loopback'. A rehearsal: it bills nobody."""

    latency_s: float = Field(0.05, ge=0, description="mean time to answer")
    fault_share: Share = Field(0.02, description="share of requests that meet a fault")
    defect_share: Share = Field(
        0.04, description="share of generated questions that are defective, for the judge to find"
    )
    wrong_share: Share = Field(0.01, description="share of answers that are wrong, for the verifiers to find")
    rpm: float | None = Field(None, gt=0, description="token bucket, requests a minute")
    tpm: float | None = Field(None, gt=0, description="token bucket, tokens a minute")
    seed: int = Field(0, description="seed of the faults")


class Recipe(Section):
    """A whole run: teachers, stages, budget."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="name of the run unless --run says another"
    )
    purpose: str = Field(description="one line: what this recipe is for")
    seed: int = Field(0, ge=0, description="drives topic order and prompt seeds")
    teachers: dict[str, TeacherSection] = Field(description="endpoints by a name of your own")
    dataset: DatasetSection = Field(description="phase 1")
    budget: BudgetSection = Field(BudgetSection(), description="the hard stop")
    loopback: LoopbackSection = Field(LoopbackSection(), description="the embedded provider's behaviour")

    @model_validator(mode="after")
    def _teachers_exist(self) -> Recipe:
        data = self.dataset
        named = [data.questions.teacher, *data.questions.teacher_by_domain.values(), data.judge.teacher]
        named += [data.answers_easy.teacher, data.answers_hard.teacher]
        for name in named:
            if name not in self.teachers:
                raise ValueError(f"no teacher called {name!r}; there are {sorted(self.teachers)}")
        return self

    @property
    def needs_loopback(self) -> bool:
        return any(teacher.base_url == "loopback" for teacher in self.teachers.values())

    @property
    def rehearsal(self) -> bool:
        """True where a teacher is the embedded loopback provider: judgements and costs are practice, not real ones."""
        return any(t.label == "loopback" for t in self.teachers.values())


def preset_folder() -> Path:
    """Where the presets lie: in the wheel beside this file, in a checkout under deployments/."""
    here = Path(__file__).resolve().parent
    packed = here / "recipes"
    return packed if packed.is_dir() else here.parent / "deployments" / "recipes"


def preset_names() -> list[str]:
    return sorted(path.stem for path in preset_folder().glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Read a preset or file, apply KEY=VALUE overrides, check every key.

    Raises InputError: recipe-not-found, recipe-not-yaml, recipe-unknown-key, recipe-bad-value, secret-in-recipe.
    """
    raw = _read_yaml(_locate(name_or_path))
    for override in overrides or []:
        _apply_override(raw, override)
    return check_recipe(raw)


def check_recipe(raw: dict[str, Any]) -> Recipe:
    """A Recipe from plain data, with the same checks as from a file."""
    _refuse_secrets(raw, ())
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise _explain(error) from None


def content_hash(value: Any) -> str:
    """16 hex digits of sha256 over canonical JSON: the identity used by memos, receipts and cache keys."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


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


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without doubled keys, which SafeLoader lets through in silence."""

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


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text("utf-8"), Loader=_UniqueKeyLoader)  # nosec B506 # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError("recipe-not-yaml", f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise InputError("recipe-not-yaml", f"{path}: expected a mapping at the top, found {type(raw).__name__}")
    return raw


def _apply_override(raw: dict[str, Any], override: str) -> None:
    dotted, sign, text = override.partition("=")
    keys = dotted.split(".")
    if not sign or not all(keys):
        raise InputError("recipe-bad-override", repr(override))
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError("recipe-bad-override", f"{override!r}: {error}") from None
    at = raw
    for key in keys[:-1]:
        at = at.setdefault(key, {})
        if not isinstance(at, dict):
            raise InputError("recipe-bad-override", f"{override!r}: {key!r} is a value, not a section")
    at[keys[-1]] = value


def _refuse_secrets(value: Any, where: tuple[str, ...]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_secrets(inner, (*where, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_secrets(inner, (*where, str(index)))
    elif isinstance(value, str) and _KEY_SHAPE.search(value):
        raise InputError("secret-in-recipe", f"at {'.'.join(where)} (value not shown)")


def _explain(error: ValidationError) -> InputError:
    """The first problem as one InputError; unknown keys come first, since they explain missing ones."""
    problems = sorted(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] != "extra_forbidden":
        given = "" if first["type"] == "missing" else f" (given: {str(first['input'])[:60]!r})"
        return InputError("recipe-bad-value", f"{where}: {first['msg']}{given}")
    known = _known_keys(Recipe, first["loc"][:-1])
    close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; keys here: {', '.join(known)}"
    return InputError("recipe-unknown-key", where + hint)


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
