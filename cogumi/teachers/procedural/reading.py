"""Reading families: a passage is written from a table of facts; the question asks for a span, an order or a sum."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, number_is, same_text

_PEOPLE = (
    "Marta Olsen",
    "Idris Kone",
    "Paula Reyes",
    "Henrik Falk",
    "Sofia Marin",
    "Tomas Novak",
    "Leila Haddad",
    "Akira Sato",
    "Greta Lund",
    "Samuel Obi",
)
_JOBS = (
    "baker",
    "surveyor",
    "glazier",
    "botanist",
    "printer",
    "carpenter",
    "teacher",
    "pilot",
    "weaver",
    "chemist",
)
_TOWNS = (
    "Aldmoor",
    "Birkenau",
    "Casteldor",
    "Dunmere",
    "Elvestad",
    "Farrow",
    "Gresham",
    "Holmby",
    "Istria",
    "Jarrow",
)
_THINGS = (
    "a clock",
    "a stone bridge",
    "a library",
    "a mill",
    "a lighthouse",
    "a school",
    "a printing press",
    "a garden",
    "a theatre",
    "a well",
)
_FILLERS = (
    "The winters there were long and the roads poor.",
    "Letters took a week to arrive.",
    "Not everybody in the town agreed with the plan.",
    "Little else is known about that time.",
    "The archive burned down later, but a copy survived.",
    "Visitors still ask about it today.",
)


# -- who did what, where and when


def _sample_lives(rng: Random, hard: bool) -> dict[str, Any]:
    count = 4 if hard else 2
    people, towns, things = rng.sample(_PEOPLE, count), rng.sample(_TOWNS, count), rng.sample(_THINGS, count)
    lines = []
    for person, town, thing in zip(people, towns, things, strict=True):
        lines.append(f"{person}, a {rng.choice(_JOBS)} from {town}, built {thing} in {rng.randrange(1710, 1990)}.")
        lines.append(rng.choice(_FILLERS))
    return {"passage": tuple(lines), "thing": rng.choice(things)[2:], "what": rng.choice(("town", "job"))}


_LIFE = re.compile(r"([A-Z]\w+ [A-Z]\w+), a (\w+) from (\w+), built (?:a|an) ([\w ]+) in (\d{4})\.")


def _lives(p: Params) -> list[dict[str, str]]:
    found = [_LIFE.fullmatch(line) for line in p["passage"]]
    return [
        dict(zip(("person", "job", "town", "thing", "year"), match.groups(), strict=True)) for match in found if match
    ]


def _solve_lives(p: Params) -> Solution:
    (row,) = [row for row in _lives(p) if row["thing"] == p["thing"]]
    if "what" not in p:
        return Solution(
            row["person"],
            (f"the sentence about the {p['thing']} names {row['person']}",),
            "the name stands in the passage as written",
        )
    return Solution(
        row[p["what"]],
        (
            f"the {p['thing']} was built by {row['person']}",
            f"{row['person']} was a {row['job']} from {row['town']}",
        ),
        "two facts of one sentence are joined",
    )


# -- order of events


def _sample_timeline(rng: Random, hard: bool) -> dict[str, Any]:
    count = 6 if hard else 3
    years = rng.sample(range(1710, 1990), count)
    lines = [
        f"{person} opened {thing} in {year}."
        for person, thing, year in zip(rng.sample(_PEOPLE, count), rng.sample(_THINGS, count), years, strict=True)
    ]
    return {"passage": tuple(lines), "place": rng.randrange(2, 6)}


def _solve_timeline(p: Params) -> Solution:
    rows = sorted((int(line[-5:-1]), line.split(" opened ")[0]) for line in p["passage"])
    order = ", ".join(f"{year} {who}" for year, who in rows)
    return Solution(
        rows[p.get("place", 1) - 1][1],
        (f"by year: {order}",),
        "the order in the text is not the order in time",
    )


# -- a sum over the passage


def _sample_ledger(rng: Random, hard: bool) -> dict[str, Any]:
    goods = rng.sample(("wool", "salt", "timber", "honey", "copper", "linen", "barley"), 5 if hard else 3)
    lines = [
        f"In the {['first', 'second', 'third', 'fourth', 'fifth'][i]} month the harbour took in {rng.randrange(5, 400)} barrels of {item}."
        for i, item in enumerate(goods)
    ]
    if hard:
        lines.insert(3, f"A storm spoiled {rng.randrange(1, 5)} barrels of {goods[1]}.")
    return {"passage": tuple(lines), "town": rng.choice(_TOWNS), "year": rng.randrange(1600, 1900)}


def _solve_ledger(p: Params) -> Solution:
    came = [int(n) for line in p["passage"] for n in re.findall(r"took in (\d+) barrels", line)]
    lost = [int(n) for line in p["passage"] for n in re.findall(r"spoiled (\d+) barrels", line)]
    total = sum(came) - sum(lost)
    steps = [f"came in: {' + '.join(map(str, came))} = {sum(came)}"]
    if lost:
        steps.append(f"spoiled: {sum(lost)}, so {total} were left")
    return Solution(f"{total} barrels", tuple(steps), "every month is counted once")


# -- a word's meaning from its use


_INVENTED = {
    "a small boat": "They rowed the {w} across the lake, and it leaked only a little.",
    "a warm coat": "She buttoned her {w} up to the chin before stepping into the snow.",
    "a loud bell": "The {w} rang so hard that the pigeons left the tower.",
    "a narrow street": "Two carts could not pass each other in the {w} between the houses.",
    "a sweet soup": "He asked for another spoon of {w}, still steaming and full of honey.",
    "a heavy hammer": "It took both hands to lift the {w} and strike the iron.",
}


def _sample_word(rng: Random, hard: bool) -> dict[str, Any]:
    word = "".join(rng.choice(s) for s in ("bdfgklmp", "aeiou", "lmnrst", "aeiou", "bdgklnrt"))
    meaning = rng.choice(sorted(_INVENTED))
    choices = [*rng.sample([key for key in _INVENTED if key != meaning], 5 if hard else 2), meaning]
    rng.shuffle(choices)
    lines = [_INVENTED[meaning].format(w=word)]
    if hard:
        lines.insert(0, rng.choice(_FILLERS))
    return {"passage": tuple(lines), "word": word, "choices": tuple(choices)}


def _solve_word(p: Params) -> Solution:
    meaning = next(key for key, sentence in _INVENTED.items() if sentence.format(w=p["word"]) in p["passage"])
    return Solution(
        meaning,
        (f"what is done with the {p['word']} fits only {meaning}",),
        "the other choices make the sentence absurd",
    )


# -- look up in a timetable


def _sample_table(rng: Random, hard: bool) -> dict[str, Any]:
    towns = rng.sample(_TOWNS, 5 if hard else 3)
    minute = rng.randrange(300, 700)
    lines = []
    for town in towns:
        lines.append(f"{town}: {minute // 60:02d}:{minute % 60:02d}")
        minute += rng.randrange(9, 95)
    return {"rows": tuple(lines), "start": towns[0], "end": towns[-1], "stop": towns[1]}


def _solve_table(p: Params) -> Solution:
    times = dict(line.split(": ") for line in p["rows"])
    if "end" not in p:
        return Solution(
            times[p["stop"]],
            (f"the row of {p['stop']} says {times[p['stop']]}",),
            "the row, not the line below it",
        )
    first, last = (int(t[:2]) * 60 + int(t[3:]) for t in (times[p["start"]], times[p["end"]]))
    return Solution(
        f"{last - first} minutes",
        (
            f"{p['start']} {times[p['start']]}, {p['end']} {times[p['end']]}",
            f"the difference is {last - first} minutes",
        ),
        "an hour has 60 minutes",
    )


def _other(pool: Any) -> Any:
    return lambda p, answer, rng: rng.choice([value for value in pool(p) if value != answer])


FAMILIES = (
    Family(
        "who-built",
        "reading",
        "comprehension",
        ("Read the passage.\n{passage:lines}\n\nWho built the {thing:phrase}? Answer with the full name.",),
        (
            "Read the passage.\n{passage:lines}\n\nThink of the person who built the {thing:phrase}: what was that person's {what:word}? Answer with one word.",
        ),
        _sample_lives,
        _solve_lives,
        lambda p, answer: same_text(_solve_lives(p).answer, answer),
        _other(lambda p: [row[p.get("what", "person")] for row in _lives(p)] + ["nobody"]),
    ),
    Family(
        "timeline",
        "reading",
        "inference",
        ("Read the passage.\n{passage:lines}\n\nWho was the earliest? Answer with the full name.",),
        (
            "Read the passage.\n{passage:lines}\n\nIn order of time, whose opening was number {place:int}? Answer with the full name.",
        ),
        _sample_timeline,
        _solve_timeline,
        lambda p, answer: same_text(_solve_timeline(p).answer, answer),
        _other(lambda p: [line.split(" opened ")[0] for line in p["passage"]]),
    ),
    Family(
        "harbour",
        "reading",
        "inference",
        ("From the chronicle of {town:word}, {year:int}:\n{passage:lines}\n\nHow many barrels came in altogether?",),
        (
            "From the chronicle of {town:word}, {year:int}:\n{passage:lines}\n\nHow many good barrels were there in the end?",
        ),
        _sample_ledger,
        _solve_ledger,
        lambda p, answer: number_is(_solve_ledger(p).answer.split()[0])(answer),
    ),
    Family(
        "word-meaning",
        "reading",
        "vocabulary",
        ("Read: {passage:lines}\n\nWhich meaning fits the invented word {word:word} best: {choices:words}?",),
        (
            "Read the passage.\n{passage:lines}\n\nAn invented word, {word:word}, stands in it. Which of these does it mean: {choices:words}?",
        ),
        _sample_word,
        _solve_word,
        lambda p, answer: same_text(_solve_word(p).answer, answer),
        _other(lambda p: p["choices"]),
    ),
    Family(
        "timetable",
        "reading",
        "comprehension",
        ("A timetable reads:\n{rows:lines}\n\nWhen does the train stop in {stop:word}?",),
        ("A timetable reads:\n{rows:lines}\n\nHow many minutes does the ride from {start:word} to {end:word} take?",),
        _sample_table,
        _solve_table,
        lambda p, answer: (
            number_is(_solve_table(p).answer.split()[0])(answer)
            if "end" in p
            else same_text(_solve_table(p).answer, answer)
        ),
    ),
)
