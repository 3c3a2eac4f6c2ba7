"""Reasoning families: orderings, set membership, weekdays, grid walks, number patterns, who sits where."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, final_line, number_is, same_text

_NAMES = (
    "Ada",
    "Ben",
    "Cleo",
    "Dan",
    "Eva",
    "Finn",
    "Gia",
    "Hugo",
    "Iris",
    "Jack",
    "Kira",
    "Leo",
    "Mia",
    "Nils",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tara",
    "Vera",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TRAITS = ("older", "taller", "faster", "heavier", "richer")


# -- orderings


def _sample_order(rng: Random, hard: bool) -> dict[str, Any]:
    people = rng.sample(_NAMES, 6 if hard else 3)
    trait = rng.choice(_TRAITS)
    facts = [f"{high} is {trait} than {low}." for high, low in itertools.pairwise(people)]
    rng.shuffle(facts)
    return {"facts": tuple(facts), "place": rng.randrange(2, 6), "trait": trait}


def _solve_order(p: Params) -> Solution:
    pairs = [(fact.split()[0], fact.split()[-1].rstrip(".")) for fact in p["facts"]]
    below = dict(pairs)
    (first,) = set(below) - set(below.values())
    chain = [first]
    while chain[-1] in below:
        chain.append(below[chain[-1]])
    steps = (f"nobody is above {first}", "the chain is " + " > ".join(chain))
    who = chain[p["place"] - 1] if "place" in p else chain[0]
    return Solution(who, steps, "every fact fits the chain")


def _verify_order(p: Params, answer: str) -> bool:
    return same_text(_solve_order(p).answer, answer)


# -- all / no statements


_KINDS = (
    "brolls",
    "zorps",
    "mavens",
    "tarks",
    "plims",
    "quills",
    "narps",
    "drells",
    "vints",
    "skars",
    "wugs",
    "fenks",
    "glibs",
    "hoons",
    "jaxes",
    "krims",
)


def _sample_sets(rng: Random, hard: bool) -> dict[str, Any]:
    kinds = rng.sample(_KINDS, 5 if hard else 3)
    facts = [f"All {a} are {b}." for a, b in itertools.pairwise(kinds)]
    if rng.random() < 0.5:
        facts[-1] = f"No {kinds[-2]} are {kinds[-1]}."
    first, asked = kinds[0], kinds[-1]
    rng.shuffle(facts)
    return {"facts": tuple(facts), "name": rng.choice(_NAMES), "kind": first, "asked": asked}


def _solve_sets(p: Params) -> Solution:
    here, walked, answer = p["kind"], [p["kind"]], "unknown"
    rules = {fact.split()[1]: (fact.split()[0], fact.split()[-1].rstrip(".")) for fact in p["facts"]}
    while here in rules and answer == "unknown":
        word, target = rules[here]
        walked.append(("not " if word == "No" else "") + target)
        if target == p["asked"]:
            answer = "no" if word == "No" else "yes"
        here = target if word == "All" else ""
    return Solution(
        answer,
        (f"{p['name']} is one of the " + ", so one of the ".join(walked),),
        "each step uses one statement in its own direction",
    )


def _verify_sets(p: Params, answer: str) -> bool:
    return same_text(_solve_sets(p).answer, answer)


def _mutate_sets(p: Params, answer: str, rng: Random) -> str:
    return {"yes": "no", "no": "yes", "unknown": "yes"}[answer]


# -- weekdays


def _sample_weekday(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "day": rng.choice(_DAYS),
        "ahead": rng.randrange(10, 400),
        "back": rng.randrange(20, 900),
        "who": rng.choice(_NAMES),
    }


def _solve_weekday(p: Params) -> Solution:
    shift = p["ahead"] - p.get("back", 0)
    day = _DAYS[(_DAYS.index(p["day"]) + shift) % 7]
    return Solution(
        day,
        (f"the whole shift is {shift} days", f"{shift} modulo 7 = {shift % 7}"),
        "whole weeks change nothing",
    )


# -- walking a grid


def _sample_walk(rng: Random, hard: bool) -> dict[str, Any]:
    moves = [
        f"{rng.randrange(1, 30)} {rng.choice(('north', 'south', 'east', 'west'))}" for _ in range(7 if hard else 3)
    ]
    return {"moves": tuple(moves), "who": rng.choice(_NAMES)}


def _solve_walk(p: Params) -> Solution:
    x = y = 0
    for move in p["moves"]:
        amount, way = move.split()
        x += int(amount) * {"east": 1, "west": -1}.get(way, 0)
        y += int(amount) * {"north": 1, "south": -1}.get(way, 0)
    return Solution(
        f"{abs(x) + abs(y)} blocks",
        (f"east-west balance {x}", f"north-south balance {y}", f"|{x}| + |{y}| = {abs(x) + abs(y)}"),
        "opposite moves cancel",
    )


# -- number patterns


def _sample_pattern(rng: Random, hard: bool) -> dict[str, Any]:
    if hard:
        value, add, grow = rng.randrange(1, 40), rng.randrange(1, 12), rng.randrange(1, 9)
        shown = []
        for _ in range(6):
            shown.append(value)
            value, add = value + add, add + grow
        return {"shown": tuple(shown)}
    start, step = rng.randrange(1, 90), rng.choice([n for n in range(-9, 16) if n])
    return {"shown": tuple(start + i * step for i in range(5))}


def _solve_pattern(p: Params) -> Solution:
    shown = p["shown"]
    gaps = [b - a for a, b in itertools.pairwise(shown)]
    change = gaps[-1] - gaps[-2]
    following = shown[-1] + gaps[-1] + change
    return Solution(
        str(following),
        (
            f"the gaps are {', '.join(map(str, gaps))}",
            f"each gap changes by {change}",
            f"{shown[-1]} + {gaps[-1] + change}",
        ),
        "the rule explains every number shown",
    )


# -- who sits where


def _sample_row(rng: Random, hard: bool) -> dict[str, Any]:
    people = rng.sample(_NAMES, 5 if hard else 4)
    facts = [f"{people[0]} sits at the left end."]
    facts += [f"{right} sits directly to the right of {left}." for left, right in itertools.pairwise(people)]
    rng.shuffle(facts)
    return {"facts": tuple(facts), "seat": rng.randrange(2, len(people) + 1), "end": "left"}


def _solve_row(p: Params) -> Solution:
    follows = {}
    here = ""
    for fact in p["facts"]:
        words = fact.rstrip(".").split()
        if words[-1] == "end":
            here = words[0]
        else:
            follows[words[-1]] = words[0]
    row = [here]
    while row[-1] in follows:
        row.append(follows[row[-1]])
    return Solution(
        row[p["seat"] - 1],
        ("from left to right: " + ", ".join(row),),
        "directly to the right means the next seat",
    )


def _another_name(p: Params, answer: str, rng: Random) -> str:
    return rng.choice([name for name in _NAMES if name != answer])


def _another_day(p: Params, answer: str, rng: Random) -> str:
    return rng.choice([day for day in _DAYS if day != answer])


FAMILIES = (
    Family(
        "ordering",
        "reasoning",
        "logical_deduction",
        (
            "Read these facts.\n{facts:lines}\nWho comes first, that is, who is {trait:word} than all the others? Answer with the name.",
        ),
        (
            "Read these facts.\n{facts:lines}\nOrdered from the most to the least, who is number {place:int}? The word in question is {trait:word}. Answer with the name.",
        ),
        _sample_order,
        _solve_order,
        _verify_order,
        _another_name,
    ),
    Family(
        "all-and-no",
        "reasoning",
        "logical_deduction",
        (
            "Suppose these statements hold.\n{facts:lines}\n{name:word} is one of the {kind:word}. Is {name:word} one of the {asked:word}? Answer yes, no or unknown.",
        ),
        (
            "Take only these statements as true.\n{facts:lines}\nIf {name:word} belongs to the {kind:word}, does {name:word} belong to the {asked:word}? Answer yes, no or unknown.",
        ),
        _sample_sets,
        _solve_sets,
        _verify_sets,
        _mutate_sets,
    ),
    Family(
        "weekday",
        "reasoning",
        "analysis",
        ("Today is {day:word}, says {who:word}. Which day of the week is it in {ahead:int} days?",),
        (
            "Today is {day:word}. {who:word} counts {ahead:int} days ahead and from there {back:int} days back. On which day of the week does the count end?",
        ),
        _sample_weekday,
        _solve_weekday,
        lambda p, answer: same_text(_solve_weekday(p).answer, answer),
        _another_day,
    ),
    Family(
        "grid-walk",
        "reasoning",
        "analysis",
        (
            "{who:word} walks these blocks in a city grid.\n{moves:lines}\nHow many blocks is the shortest way back to the start?",
        ),
        (
            "{who:word} delivers parcels and walks these blocks in turn.\n{moves:lines}\nEvery street is a straight line. How many blocks is the shortest way back to the depot?",
        ),
        _sample_walk,
        _solve_walk,
        lambda p, answer: number_is(_solve_walk(p).answer.split()[0])(final_line(answer)),
    ),
    Family(
        "number-pattern",
        "reasoning",
        "pattern_recognition",
        ("Which number comes next: {shown:ints}?",),
        ("The gaps of this sequence change by a fixed amount. Which number comes next: {shown:ints}?",),
        _sample_pattern,
        _solve_pattern,
        lambda p, answer: number_is(_solve_pattern(p).answer)(answer),
    ),
    Family(
        "seat-row",
        "reasoning",
        "logical_deduction",
        (
            "Four friends sit in a row.\n{facts:lines}\nWho has seat number {seat:int}, counted from the {end:word}? Answer with the name.",
        ),
        (
            "Five friends sit in a row.\n{facts:lines}\nWho has seat number {seat:int}, counted from the {end:word}? Answer with the name.",
        ),
        _sample_row,
        _solve_row,
        lambda p, answer: same_text(_solve_row(p).answer, answer),
        _another_name,
    ),
)
