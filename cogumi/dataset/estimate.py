"""Estimate: what a run will cost and how long it will take, before the first paid call.

Token counts per call start from the spec's own figures (sections 1.1, 1.2, 1.14) and the rendered prompts; once a run
has bought at least 20 replies of a stage, what it measured takes their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Any

from cogumi.dataset.hidden import hidden_questions
from cogumi.dataset.judge import hidden_count
from cogumi.dataset.prompts import answer_prompt, guide_tokens, judge_prompt, question_prompt
from cogumi.dataset.route import Calls, Route, Way, choose_routes
from cogumi.dataset.shards import plan_shards
from cogumi.domain import Cell, Difficulty
from cogumi.metrics.formatting import counted
from cogumi.recipe import DatasetSection, JudgeSection, Recipe, TeacherSection
from cogumi.teachers.types import Needs

if TYPE_CHECKING:
    from cogumi.store.ledger import Ledger

_PASS_RATE = 0.9
_QUESTION_TOKENS, _SCORE_TOKENS, _TRAIT_TOKENS, _EASY_TOKENS, _HARD_TOKENS = 60, 35, 30, 150, 750
_SECONDS_A_CALL = {"questions": 15.0, "judge": 10.0, "answers_easy": 5.0, "answers_hard": 20.0}
_LOOPBACK_SHARE = {"questions": 1.0, "judge": 0.6, "answers_easy": 0.045, "answers_hard": 0.145}
"""The embedded provider is terse: its completions as shares of the figures above, measured on the demo."""
_MEASURED_FROM = 20


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Calls, tokens, money and minutes of one stage and teacher, by the way they are delivered.

    `guide_usd`: what of the cost the guide is. `plain_usd`: the same prompts as single calls without a cache.
    `measured`: from this run's own replies.
    """

    stage: str
    teacher: str
    model: str
    delivery: Way
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    guide_usd: float
    plain_usd: float
    minutes: float
    measured: bool


def estimate(
    recipe: Recipe,
    ledger: Ledger | None = None,
    given: Counter[Difficulty] | None = None,
    counts: Mapping[tuple[str, str], int] | None = None,
) -> dict[str, Any]:
    """The estimate by stage and in all. Raises BudgetError price-unknown.

    Args:
        ledger: the run's ledger, where it exists: what was bought is taken off, what was measured is used.
        counts: calls that are still to be made by (stage, teacher), where a replay has counted them.
        given: existing questions to be judged and answered, by difficulty, in place of the recipe's cells.
    """
    bought = ledger.table("stage", "state") if ledger else []
    measured = {row["stage"]: row for row in bought if row["state"] == "received"}
    calls = [_calls(recipe, *row, measured.get(row[0]), counts) for row in _stage_calls(recipe, given)]
    routes = choose_routes(recipe, calls)
    stages = [_stage(recipe, c, routes[c.stage, c.teacher], c.stage in _known(measured)) for c in calls]
    cost, plain = sum(stage.cost_usd for stage in stages), sum(stage.plain_usd for stage in stages)
    return {
        "stages": [asdict(stage) for stage in stages],
        "calls": sum(stage.calls for stage in stages),
        "reused": ledger.replies if ledger else 0,
        "cost_usd": round(cost, 4),
        "cost_usd_range": [round(cost * factor, 4) for factor in (0.7, 1.4)],
        "guide": _guide(recipe, stages),
        "plain_usd": round(plain, 4),
        "saving_usd": round(plain - cost, 4),
        "minutes": round(_together(stages), 1),
        "max_usd": recipe.budget.max_usd,
        "rehearsal": recipe.rehearsal,
    }


def calls_text(expected: dict[str, Any]) -> str:
    """`1,240 calls`, with the range of a forecast's draws where they differ."""
    low, high = expected.get("calls_range") or (expected["calls"], expected["calls"])
    spread = f" ({low:,} to {high:,})" if low != high else ""
    return counted(expected["calls"], "call") + spread


def answer_tokens(stage: str, teacher: TeacherSection) -> int:
    """Completion tokens that an answer of a stage is expected to have, before any was measured."""
    return _completion(stage, teacher, _HARD_TOKENS if stage == "answers_hard" else _EASY_TOKENS)


def routes_of(estimated: dict[str, Any]) -> dict[str, Way]:
    """The way of delivery by stage."""
    return {row["stage"]: row["delivery"] for row in estimated["stages"]}


def needs_of(estimated: dict[str, Any]) -> dict[str, Needs]:
    """What the estimate asks of each teacher, for the preflight."""
    needs: dict[str, Needs] = {}
    for row in estimated["stages"]:
        held = needs.get(row["teacher"], Needs())
        needs[row["teacher"]] = Needs(held.calls + row["calls"], held.cost_usd + row["cost_usd"])
    return needs


def _known(measured: dict[str, dict[str, Any]]) -> set[str]:
    return {stage for stage, row in measured.items() if row["attempts"] >= _MEASURED_FROM}


def _together(stages: list[StageEstimate]) -> float:
    """Minutes of the generating half and the answering half; in each, different teachers work at once."""
    first = [s.minutes for s in stages if s.stage in ("questions", "judge")]
    second = [s.minutes for s in stages if s.stage.startswith("answers")]
    return max(first, default=0.0) + max(second, default=0.0)


def _stage_calls(recipe: Recipe, given: Counter[Difficulty] | None) -> list[tuple[str, str, float, int, int]]:
    """(stage, teacher, calls, prompt tokens a call, completion tokens a call)."""
    data = recipe.dataset
    calls: list[tuple[str, str, float, int, int]] = []
    rows = Counter(given) if given is not None else _rows_wanted(data)
    hidden = hidden_count(data.judge)
    asked, judge_calls = _asked(data) if given is None else ({}, rows.total() / max(1, data.judge.per_call - hidden))
    prompt = question_prompt(Cell("math", Difficulty.HARD), data.questions.per_call, "percentages", "a student", 0, [])
    size = len(prompt.system + prompt.user) // 4
    calls += [("questions", name, n, size, round(_QUESTION_TOKENS * made / n)) for name, (n, made) in asked.items()]
    judged = sum(made for _, made in asked.values()) or rows.total()
    each = judged / max(1, judge_calls) + hidden
    tokens_each = _SCORE_TOKENS + _TRAIT_TOKENS * data.judge.classify
    calls.append(("judge", data.judge.teacher, judge_calls, _judge_size(data.judge), round(each * tokens_each)))
    for stage, difficulty, section, tokens, is_hard in (
        ("answers_easy", Difficulty.EASY, data.answers_easy, _EASY_TOKENS, False),
        ("answers_hard", Difficulty.HARD, data.answers_hard, _HARD_TOKENS, True),
    ):
        count = rows[difficulty]
        calls.append(
            (
                stage,
                section.teacher,
                count,
                len(answer_prompt("", is_hard).system) // 4 + _QUESTION_TOKENS,
                tokens,
            )
        )
    return [call for call in calls if call[2] > 0]


def _asked(data: DatasetSection) -> tuple[dict[str, tuple[int, int]], int]:
    """Question calls and questions by teacher, and judge calls, of the first round of every shard."""
    by_teacher: dict[str, tuple[int, int]] = {}
    judge_calls = 0
    for shard in plan_shards(data):
        teacher = data.questions.teacher_by_domain.get(shard.cell.domain, data.questions.teacher)
        questions = ceil(shard.rows / _PASS_RATE)
        calls, made = by_teacher.get(teacher, (0, 0))
        by_teacher[teacher] = calls + ceil(questions / data.questions.per_call), made + questions
        judge_calls += ceil(questions / max(1, data.judge.per_call - hidden_count(data.judge)))
    return by_teacher, judge_calls


def _rows_wanted(data: DatasetSection) -> Counter[Difficulty]:
    return Counter({d: sum(counts.get(d.value, 0) for counts in data.cells.values()) for d in Difficulty})


def _judge_size(section: JudgeSection) -> int:
    cell = Cell("math", Difficulty.HARD)
    shown = hidden_questions(cell, section.per_call, Random(0))
    prompt = judge_prompt([(question.text, cell) for question in shown], section.classify)
    return len(prompt.system + prompt.user) // 4


def _calls(
    recipe: Recipe,
    stage: str,
    teacher: str,
    calls: float,
    prompt: int,
    completion: int,
    measured: dict[str, Any] | None,
    counts: Mapping[tuple[str, str], int] | None,
) -> Calls:
    """What is still to be bought; `prompt` is without the guide."""
    section = recipe.teachers[teacher]
    guide = _guide_tokens(recipe) if stage == "answers_hard" else 0
    asked = prompt + guide
    completion = _completion(stage, section, completion)
    if measured is not None and measured["attempts"] >= _MEASURED_FROM:
        asked = measured["prompt_tokens"] // measured["attempts"]
        completion = measured["completion_tokens"] // measured["attempts"]
    if counts is None:
        left = max(0, ceil(calls) - (measured["attempts"] if measured else 0))
    else:
        left = counts.get((stage, teacher), 0)
    minutes = _minutes(section, left, asked + completion, _seconds(recipe, stage, section), _workers(recipe, stage))
    cache = recipe.dataset.answers_hard.cache if guide else "off"
    return Calls(stage, teacher, left, asked, completion, min(guide, asked), minutes, cache)


def _completion(stage: str, teacher: TeacherSection, tokens: int) -> int:
    return round(tokens * _LOOPBACK_SHARE[stage]) if teacher.label == "loopback" else tokens


def _stage(recipe: Recipe, calls: Calls, route: Route, known: bool) -> StageEstimate:
    return StageEstimate(
        stage=calls.stage,
        teacher=calls.teacher,
        model=recipe.teachers[calls.teacher].model,
        delivery=route.way,
        calls=calls.count,
        prompt_tokens=calls.prompt * calls.count,
        completion_tokens=calls.completion * calls.count,
        cost_usd=round(route.cost_usd, 4),
        guide_usd=round(route.guide_usd, 4),
        plain_usd=round(route.plain_usd, 4),
        minutes=round(route.minutes, 1),
        measured=known,
    )


def _guide(recipe: Recipe, stages: list[StageEstimate]) -> dict[str, Any] | None:
    """The guide's tokens per call and its part of the cost, as it is cached and delivered; None where none is sent."""
    section = recipe.dataset.answers_hard
    found = next((stage for stage in stages if stage.stage == "answers_hard"), None)
    if not section.guide or found is None:
        return None
    return {
        "tokens": guide_tokens(),
        "cost_usd": found.guide_usd,
        "cache": section.cache,
        "delivery": found.delivery,
    }


def _guide_tokens(recipe: Recipe) -> int:
    """Tokens of the guide before hard questions; 0 where it is not sent."""
    return guide_tokens() if recipe.dataset.answers_hard.guide else 0


def _minutes(section: TeacherSection, calls: int, tokens: int, seconds: float, workers: int) -> float:
    """The slowest of three: the request limit, the token limit, the workers."""
    by_requests = calls / section.rpm if section.rpm else 0.0
    by_tokens = calls * tokens / section.tpm if section.tpm else 0.0
    return max(by_requests, by_tokens, calls * seconds / min(workers, section.in_flight) / 60)


def _seconds(recipe: Recipe, stage: str, section: TeacherSection) -> float:
    return recipe.loopback.latency_s if section.base_url == "loopback" else _SECONDS_A_CALL[stage]


def _workers(recipe: Recipe, stage: str) -> int:
    data = recipe.dataset
    return {
        "judge": data.judge.workers,
        "answers_easy": data.answers_easy.workers,
        "answers_hard": data.answers_hard.workers,
    }.get(stage, 1000)
