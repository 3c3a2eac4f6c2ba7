"""Instruction families: answers that must obey a stated form, checked by rule (in the spirit of IFEval, arXiv:2311.07911)."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import orjson

from cogumi.teachers.procedural.family import Family, Params, Solution, final_line

_WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grain",
    "harbor",
    "inlet",
    "jetty",
    "knoll",
    "lagoon",
    "meadow",
    "north",
    "orchard",
    "pebble",
    "quarry",
    "ridge",
    "summit",
    "tundra",
    "upland",
    "valley",
    "willow",
    "yonder",
    "zephyr",
    "acorn",
    "basin",
    "cliff",
    "dune",
    "estuary",
)
_NAMES = (
    "Anna Berg",
    "Carl Dorn",
    "Elif Gunes",
    "Hana Ito",
    "Jon Kerr",
    "Lea Moor",
    "Nina Ort",
    "Pia Quist",
    "Rolf Stein",
    "Uma Vance",
)
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _exact_line(solve: Any) -> Any:
    """Case and order count; only space around and a final full stop do not."""
    return lambda p, answer: final_line(answer).strip().rstrip(".") == solve(p).answer.rstrip(".")


def _swap_case(p: Params, answer: str, rng: Random) -> str:
    return answer.swapcase() if answer.swapcase() != answer else answer + "x"


# -- sort and change words


def _sample_sort(rng: Random, hard: bool) -> dict[str, Any]:
    return {"words": tuple(rng.sample(_WORDS, 7 if hard else 4)), "nth": rng.randrange(2, 4)}


def _solve_sort(p: Params) -> Solution:
    ordered = sorted(p["words"], reverse="nth" in p)
    if "nth" in p:
        ordered = [word.upper() if place % p["nth"] == 0 else word for place, word in enumerate(ordered, 1)]
    return Solution(
        ", ".join(ordered),
        (f"sorted: {', '.join(sorted(p['words']))}",),
        "commas and one space between words",
    )


# -- numbered list with given first letters


def _sample_list(rng: Random, hard: bool) -> dict[str, Any]:
    letters = "".join(rng.sample("abcdefghijklmnopqrstuvwy", 4 if hard else 3))
    return {"letters": letters, "least": rng.randrange(5, 7), "banned": rng.choice("xz")}


def _list_words(p: Params) -> list[str]:
    return [_FILL[letter] for letter in p["letters"]]


_FILL = {word[0]: word for word in sorted(_WORDS, key=len)} | {
    "k": "kindle",
    "x": "xenon",
    "g": "garden",
    "n": "number",
    "f": "forest",
    "i": "island",
    "m": "market",
    "r": "ribbon",
    "s": "silver",
    "t": "temper",
    "v": "velvet",
    "w": "winter",
    "y": "yonder",
    "d": "danger",
    "j": "jungle",
    "c": "castle",
    "p": "pepper",
    "h": "hammer",
    "b": "butter",
    "e": "engine",
    "a": "anchor",
    "l": "ladder",
    "o": "orange",
    "q": "quarry",
    "u": "upland",
}


def _solve_list(p: Params) -> Solution:
    lines = [f"{number}. {word}" for number, word in enumerate(_list_words(p), 1)]
    return Solution("\n".join(lines), ("one word a line, numbered from 1",), "every word starts with its letter")


def _verify_list(p: Params, answer: str) -> bool:
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    if len(lines) != len(p["letters"]):
        return False
    for number, (line, letter) in enumerate(zip(lines, p["letters"], strict=True), 1):
        found = re.fullmatch(rf"{number}\. ([a-z]+)", line.strip())
        if found is None or not found[1].startswith(letter):
            return False
        if "least" in p and (len(found[1]) < p["least"] or p["banned"] in found[1]):
            return False
    return True


def _shift_list(p: Params, answer: str, rng: Random) -> str:
    lines = answer.splitlines()
    return "\n".join([*lines[1:], lines[0]])


# -- JSON with given keys


def _sample_json(rng: Random, hard: bool) -> dict[str, Any]:
    name = rng.choice(_NAMES)
    return {
        "name": name,
        "age": rng.randrange(18, 90),
        "words": tuple(rng.sample(_WORDS, 4)),
        "id": rng.randrange(1000, 99999),
    }


def _solve_json(p: Params) -> Solution:
    value: dict[str, Any] = {"name": p["name"], "age": p["age"]}
    if "words" in p:
        value = {"id": p["id"], "person": value, "tags": sorted(p["words"]), "tag_count": len(p["words"])}
    return Solution(orjson.dumps(value).decode(), ("keys exactly as named",), "numbers are numbers, not text")


def _verify_json(p: Params, answer: str) -> bool:
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", answer.strip())
    try:
        return bool(orjson.loads(text) == orjson.loads(_solve_json(p).answer))
    except orjson.JSONDecodeError:
        return False


def _wrong_json(p: Params, answer: str, rng: Random) -> str:
    return answer.replace('"name"', '"Name"')


# -- dates in a given form


def _sample_date(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "day": rng.randrange(1, 29),
        "month": rng.choice(_MONTHS),
        "year": rng.randrange(1950, 2050),
        "who": rng.choice(_NAMES),
    }


def _solve_date(p: Params, hard: bool) -> Solution:
    iso = f"{p['year']:04d}-{_MONTHS.index(p['month']) + 1:02d}-{p['day']:02d}"
    if not hard:
        return Solution(
            iso, (f"{p['month']} is month {_MONTHS.index(p['month']) + 1}",), "two digits for month and day"
        )
    last, first = p["who"].split()[1].upper(), p["who"].split()[0][0]
    return Solution(
        f"{last} {first}|{iso}",
        (f"surname in capitals: {last}", f"date: {iso}"),
        "one bar, no space around it",
    )


def _decide_date(p: Params) -> Solution:
    return _solve_date(p, "who" in p)


# -- count and repeat exactly


def _sample_repeat(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "word": rng.choice(_WORDS),
        "times": rng.randrange(3, 9),
        "other": rng.choice(_WORDS),
        "sep": rng.choice(("dash", "slash", "plus")),
        "number": rng.randrange(1, 999),
    }


def _solve_repeat(p: Params) -> Solution:
    if "other" not in p:
        return Solution(
            " ".join([p["word"]] * p["times"]) + f" {p['number']}",
            (f"{p['times']} times {p['word']}, then {p['number']}",),
            "nothing before or after",
        )
    mark = {"dash": "-", "slash": "/", "plus": "+"}[p["sep"]]
    words = [p["word"] if i % 2 == 0 else p["other"][::-1] for i in range(p["times"])]
    return Solution(
        mark.join([*words, str(p["number"])]),
        (f"odd places {p['word']}, even places {p['other'][::-1]}",),
        "the separator stands only between items",
    )


# -- acronyms


def _sample_acronym(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "words": tuple(rng.sample(_WORDS, 6 if hard else 4)),
        "drop": rng.choice("aeiou"),
        "number": rng.randrange(10, 99),
    }


def _solve_acronym(p: Params) -> Solution:
    letters = [word[0].upper() for word in p["words"]]
    if "drop" not in p:
        return Solution("".join(letters), ("first letters in order",), "capitals without dots")
    kept = [word[0].upper() for word in p["words"] if p["drop"] not in word]
    return Solution(
        "-".join([*kept, str(p["number"])]),
        (f"words with the letter {p['drop']} are left out",),
        "dashes only between the parts",
    )


FAMILIES = (
    Family(
        "sort-words",
        "instruction",
        "task_following",
        (
            "Sort these words alphabetically and write them on one line, separated by a comma and a space: {words:words}.",
        ),
        (
            "Sort these words from Z to A, put every word whose place is a multiple of {nth:int} in capitals, and write them on one line separated by a comma and a space: {words:words}.",
        ),
        _sample_sort,
        _solve_sort,
        _exact_line(_solve_sort),
        _swap_case,
    ),
    Family(
        "letter-list",
        "instruction",
        "task_following",
        (
            "Write a numbered list of lower-case words, one a line like '1. word', whose first letters are in this order: {letters:word}.",
        ),
        (
            "Write a numbered list of lower-case words, one a line like '1. word', whose first letters are in this order: {letters:word}. Each word has at least {least:int} letters and none contains the letter {banned:word}.",
        ),
        _sample_list,
        _solve_list,
        _verify_list,
        _shift_list,
    ),
    Family(
        "json-form",
        "instruction",
        "multi_step",
        (
            "Answer with nothing but a JSON object with the keys name and age for {name:phrase}, who is {age:int} years old.",
        ),
        (
            "Answer with nothing but a JSON object: id is {id:int}, person is an object with name and age for {name:phrase}, who is {age:int}, tags is the alphabetically sorted list of {words:words}, and tag_count says how many tags there are.",
        ),
        _sample_json,
        _solve_json,
        _verify_json,
        _wrong_json,
    ),
    Family(
        "date-form",
        "instruction",
        "task_following",
        ("Write the date {day:int} {month:word} {year:int} in the form YYYY-MM-DD and nothing else.",),
        (
            "For {who:phrase}, born on {day:int} {month:word} {year:int}, write the surname in capitals, a space, the first letter of the first name, a vertical bar and the date as YYYY-MM-DD, all without further spaces.",
        ),
        _sample_date,
        _decide_date,
        _exact_line(_decide_date),
        lambda p, answer, rng: answer[:-2] + f"{(int(answer[-2:]) % 28) + 1:02d}",
    ),
    Family(
        "repeat",
        "instruction",
        "task_following",
        (
            "Write the word {word:word} {times:int} times on one line with single spaces, then the number {number:int}, and nothing else.",
        ),
        (
            "Write {times:int} items on one line, joined by the {sep:word} sign: at odd places the word {word:word}, at even places the word {other:word} spelled backwards. Join the number {number:int} to the end in the same way. Write nothing else.",
        ),
        _sample_repeat,
        _solve_repeat,
        _exact_line(_solve_repeat),
        _swap_case,
    ),
    Family(
        "acronym",
        "instruction",
        "multi_step",
        ("Write the acronym of these words in capitals, without dots: {words:words}.",),
        (
            "From these words leave out every one that contains the letter {drop:word}; join the capital first letters of the rest by dashes, add a dash and the number {number:int}, and write nothing else: {words:words}.",
        ),
        _sample_acronym,
        _solve_acronym,
        _exact_line(_solve_acronym),
        _swap_case,
    ),
)
