"""Summarization families: records become a text; the summary must keep the key facts, stay short and invent no number."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from statistics import median
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, mutate_text

_CITIES = ("Lyon", "Porto", "Ghent", "Malmo", "Turin", "Krakow", "Cadiz", "Basel", "Leeds", "Varna")
_PARTS = ("pump", "valve", "sensor", "filter", "belt", "motor", "gauge", "hinge")
_NAMES = ("Noor", "Emil", "Dana", "Piet", "Lucia", "Rafi", "Wanda", "Igor", "Salma", "Bruno")
_MOST_WORDS = 45


def _numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:\.\d+)?", text))


def keeps_facts(gold: str, answer: str) -> bool:
    """A summary check: at most 45 words, every number and capitalised name of the gold summary, and no other number."""
    names = {word for word in re.findall(r"\b[A-Z][a-z]+\b", gold)} - {"The", "In", "It", "All"}
    kept = all(re.search(rf"\b{name}\b", answer) for name in names)
    return kept and len(answer.split()) <= _MOST_WORDS and _numbers(answer) == _numbers(gold)


def _checked(solve: Any) -> Any:
    return lambda p, answer: keeps_facts(solve(p).answer, answer)


def _lines_of(p: Params, pattern: str) -> list[tuple[str, ...]]:
    found = [re.fullmatch(pattern, line) for line in p["lines"]]
    return [match.groups() for match in found if match]


# -- sales by city


def _sample_sales(rng: Random, hard: bool) -> dict[str, Any]:
    values = rng.sample(range(20, 990), 6 if hard else 4)
    lines = [
        f"The shop in {city} sold {value} units."
        for city, value in zip(rng.sample(_CITIES, len(values)), values, strict=True)
    ]
    return {"lines": tuple(lines), "month": rng.choice(("May", "June", "July", "August"))}


def _solve_sales(p: Params, hard: bool) -> Solution:
    rows = sorted(((int(n), city) for city, n in _lines_of(p, r"The shop in (\w+) sold (\d+) units\.")), reverse=True)
    total = sum(n for n, _ in rows)
    text = f"All shops together sold {total} units; {rows[0][1]} led with {rows[0][0]}"
    text += f" and {rows[-1][1]} came last with {rows[-1][0]}." if hard else "."
    return Solution(
        text,
        (f"sum of {', '.join(str(n) for n, _ in rows)} = {total}", f"the best is {rows[0][1]}"),
        "no other figure is needed",
    )


# -- repairs by part


def _sample_repairs(rng: Random, hard: bool) -> dict[str, Any]:
    parts = rng.sample(_PARTS, 3 if hard else 2)
    counts = rng.sample(range(1, 6), len(parts))
    lines = [
        f"Day {rng.randrange(1, 29)}: the {part} was repaired by {rng.choice(_NAMES)}."
        for part, count in zip(parts, counts, strict=True)
        for _ in range(count)
    ]
    rng.shuffle(lines)
    return {"lines": tuple(lines), "plant": rng.choice(_CITIES)}


def _solve_repairs(p: Params, hard: bool) -> Solution:
    tally = Counter(part for (part,) in _lines_of(p, r"Day \d+: the (\w+) was repaired by \w+\."))
    ranked = sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))
    text = f"There were {sum(tally.values())} repairs, {ranked[0][1]} of them on the {ranked[0][0]}"
    if hard:
        people = Counter(name for (name,) in _lines_of(p, r"Day \d+: the \w+ was repaired by (\w+)\."))
        text += f"; {len(people)} people did the work"
    return Solution(text + ".", (f"by part: {dict(ranked)}",), "each line is one repair")


# -- weather


def _sample_weather(rng: Random, hard: bool) -> dict[str, Any]:
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[: 7 if hard else 5]
    temperatures = rng.sample(range(1, 38), len(days))
    return {
        "lines": tuple(f"{day} reached {t} degrees." for day, t in zip(days, temperatures, strict=True)),
        "town": rng.choice(_CITIES),
    }


def _solve_weather(p: Params, hard: bool) -> Solution:
    rows = sorted((int(t), day) for day, t in _lines_of(p, r"(\w+) reached (\d+) degrees\."))
    text = f"It ranged from {rows[0][0]} degrees on {rows[0][1]} to {rows[-1][0]} on {rows[-1][1]}"
    if hard:
        text += f", with a median of {median(t for t, _ in rows)}"
    return Solution(
        text + ".", (f"sorted: {', '.join(str(t) for t, _ in rows)}",), "the days belong to their own values"
    )


# -- meeting notes


def _sample_meeting(rng: Random, hard: bool) -> dict[str, Any]:
    lines = []
    for _ in range(5 if hard else 3):
        lines.append(f"{rng.choice(_NAMES)} talked about the {rng.choice(_PARTS)} for a while.")
    decisions = [
        f"Decision: {who} orders {rng.randrange(3, 400)} {part}s."
        for who, part in zip(rng.sample(_NAMES, 2), rng.sample(_PARTS, 2), strict=True)
    ]
    for decision in decisions[: 2 if hard else 1]:
        lines.insert(rng.randrange(len(lines) + 1), decision)
    return {"lines": tuple(lines), "team": rng.choice(_CITIES)}


def _solve_meeting(p: Params, hard: bool) -> Solution:
    found = _lines_of(p, r"Decision: (\w+) orders (\d+) (\w+)\.")
    text = "It was decided that " + " and that ".join(f"{who} orders {n} {what}" for who, n, what in found) + "."
    return Solution(text, ("only lines marked Decision count",), "talk without a decision is left out")


# -- reviews


def _sample_reviews(rng: Random, hard: bool) -> dict[str, Any]:
    words = ("too loud", "hard to clean", "well made", "quick", "heavy")
    most = rng.choice(words)
    lines = [
        f"{name} gave {rng.randrange(1, 6)} stars and found it {most if i < 3 else rng.choice(words)}."
        for i, name in enumerate(rng.sample(_NAMES, 7 if hard else 4))
    ]
    rng.shuffle(lines)
    return {"lines": tuple(lines), "item": rng.choice(_PARTS), "model": rng.randrange(100, 999)}


def _solve_reviews(p: Params, hard: bool) -> Solution:
    rows = _lines_of(p, r"\w+ gave (\d) stars and found it ([\w ]+)\.")
    stars = [int(n) for n, _ in rows]
    ranked = sorted(Counter(word for _, word in rows).items(), key=lambda pair: (-pair[1], pair[0]))
    text = f"It got {sum(stars)} stars from {len(rows)} people"
    text += f"; the worst rating was {min(stars)}" if hard else ""
    return Solution(
        f"{text}, and most found it {ranked[0][0]}.",
        (f"stars {stars} add up to {sum(stars)}",),
        "the most frequent remark is named once",
    )


def _wrong_number(p: Params, answer: str, rng: Random) -> str:
    return mutate_text(answer, rng)


_ASK = "Summarize in one sentence of at most 45 words, with no number that is not needed."


def _family(name: str, task: str, sample: Any, solve: Any, easy: str, hard: str) -> Family:
    """A family whose hard questions ask for more facts; which one it is can be read from its parameters' template."""

    def decide(p: Params) -> Solution:
        solution: Solution = solve(p, "extra" in p)
        return solution

    def drawn(rng: Random, is_hard: bool) -> dict[str, Any]:
        return {**sample(rng, is_hard), "extra": _EXTRA[name]}

    return Family(
        name,
        "summarization",
        task,
        (easy + "\n{lines:lines}\n\n" + _ASK,),
        (hard + "\n{lines:lines}\n\n" + _ASK + " Include {extra:task}.",),
        drawn,
        decide,
        _checked(decide),
        _wrong_number,
    )


_EXTRA = {
    "sales": "the total, the best and the last shop with their units",
    "repairs": "the number of repairs, the most repaired part with its count, and how many people worked",
    "weather": "the coldest and the warmest day with their values and the median",
    "meeting": "every decision with its number",
    "reviews": "the sum of stars, the number of people, the worst rating and the most frequent remark",
}

FAMILIES = (
    _family(
        "sales",
        "key_points",
        _sample_sales,
        _solve_sales,
        "Sales report for {month:word}; give the total and the best shop with its units.",
        "Full sales report for {month:word}.",
    ),
    _family(
        "repairs",
        "condensing",
        _sample_repairs,
        _solve_repairs,
        "Repair log of the plant in {plant:word}; give the number of repairs and the most repaired part with its count.",
        "Full repair log of the plant in {plant:word}.",
    ),
    _family(
        "weather",
        "condensing",
        _sample_weather,
        _solve_weather,
        "Weather notes from {town:word}; give the coldest and the warmest day with their values.",
        "Full weather notes from {town:word}.",
    ),
    _family(
        "meeting",
        "key_points",
        _sample_meeting,
        _solve_meeting,
        "Minutes of the team in {team:word}; give the decision.",
        "Full minutes of the team in {team:word}.",
    ),
    _family(
        "reviews",
        "abstraction",
        _sample_reviews,
        _solve_reviews,
        "Reviews of {item:word} number {model:int}; give the sum of stars, the number of people and the most frequent remark.",
        "All reviews of {item:word} number {model:int}.",
    ),
)
