"""Tool-use families: fill a JSON call, choose among tools, chain calls, read a result, spot a missing argument.

Answers are JSON; a verifier parses the last JSON value of an answer and compares it with the gold call.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from random import Random
from typing import Any

import orjson

from cogumi.teachers.procedural.family import Family, Params, Solution, number_is, same_text

_CITIES = (
    "Lisbon",
    "Oslo",
    "Quito",
    "Nairobi",
    "Osaka",
    "Turin",
    "Malmo",
    "Cusco",
    "Perth",
    "Ghent",
    "Lagos",
    "Riga",
    "Hanoi",
    "Bergen",
)
_PEOPLE = ("ana", "bo", "chen", "dina", "emil", "farah", "gus", "hana", "ivo", "june")
_ITEMS = ("lamp", "chair", "router", "mug", "tripod", "helmet", "kettle", "cable", "mat", "clock")


def last_json(answer: str) -> Any:
    """The last JSON object or array in a text, or None."""
    found = None
    for start in (match.start() for match in re.finditer(r"[\[{]", answer)):
        for end in range(len(answer), start, -1):
            if answer[end - 1] in "]}":
                try:
                    value = orjson.loads(answer[start:end])
                except orjson.JSONDecodeError:
                    continue
                if found is None or end > found[1]:
                    found = (value, end)
                break
    return None if found is None else found[0]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _same_json(solve: Any) -> Any:
    return lambda p, answer: last_json(answer) == orjson.loads(solve(p).answer)


def _mutate_json(p: Params, answer: str, rng: Random) -> str:
    """One argument changed."""
    value = orjson.loads(answer)
    call = value[-1] if isinstance(value, list) else value
    arguments = call["arguments"]
    name = rng.choice(sorted(arguments))
    old = arguments[name]
    arguments[name] = old + rng.randrange(1, 9) if isinstance(old, int) else f"{old}x"
    return _json(value)


# -- one call


def _sample_call(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "city": rng.choice(_CITIES),
        "days": rng.randrange(1, 61),
        "unit": rng.choice(("celsius", "fahrenheit")),
        "wind": rng.choice(("kmh", "knots", "mph")),
        "hour": rng.randrange(0, 24),
        "id": rng.randrange(100, 9999),
    }


def _solve_call(p: Params) -> Solution:
    arguments: dict[str, Any] = {"city": p["city"], "days": p["days"], "unit": p["unit"]}
    if "wind" in p:
        arguments |= {"wind_unit": p["wind"], "from_hour": p["hour"], "station": p["id"]}
    call = {"name": "get_forecast", "arguments": arguments}
    return Solution(_json(call), ("the request names every argument of get_forecast",), "numbers are numbers, not text")


# -- choose a tool


_TOOLS = {
    "convert_currency": ("amount", "from", "to"),
    "send_message": ("to", "minutes"),
    "set_timer": ("minutes", "label"),
    "find_product": ("item", "max_price"),
}


def _sample_choose(rng: Random, hard: bool) -> dict[str, Any]:
    tool = rng.choice(("convert_currency", "set_timer", "find_product"))
    amount = rng.randrange(2, 900)
    item = rng.choice(_ITEMS)
    wish = {
        "convert_currency": f"How much are {amount} EUR in {rng.choice(('USD', 'JPY', 'SEK'))}?",
        "set_timer": f"Remind me in {amount} minutes about the {item}.",
        "find_product": f"I want a {item} for at most {amount} euros.",
    }[tool]
    names = rng.sample(sorted(_TOOLS), 4)
    listing = tuple(f"{name}({', '.join(_TOOLS[name])})" for name in names)
    return {"tools": listing, "wish": (wish,), "user": rng.choice(_PEOPLE)}


def _solve_choose(p: Params) -> Solution:
    (wish,) = p["wish"]
    if found := re.fullmatch(r"How much are (\d+) EUR in (\w+)\?", wish):
        call = {
            "name": "convert_currency",
            "arguments": {"amount": int(found[1]), "from": "EUR", "to": found[2]},
        }
    elif found := re.fullmatch(r"Remind me in (\d+) minutes about the (\w+)\.", wish):
        call = {"name": "set_timer", "arguments": {"minutes": int(found[1]), "label": found[2]}}
    else:
        found = re.fullmatch(r"I want a (\w+) for at most (\d+) euros\.", wish)
        assert found is not None, wish
        call = {"name": "find_product", "arguments": {"item": found[1], "max_price": int(found[2])}}
    return Solution(
        _json(call),
        (f"only {call['name']} fits the request", "its arguments are all in the sentence"),
        "no argument is invented",
    )


# -- an event whose end must be computed


def _sample_event(rng: Random, hard: bool) -> dict[str, Any]:
    day = datetime(2026, 1, 1) + timedelta(days=rng.randrange(0, 700))
    start = f"{rng.randrange(6, 23):02d}:{rng.randrange(0, 12) * 5:02d}"
    return {
        "date": day.strftime("%Y-%m-%d"),
        "start": start,
        "minutes": rng.randrange(2, 30) * 5,
        "who": rng.choice(_PEOPLE),
        "gap": rng.randrange(1, 10) * 5,
        "second": rng.randrange(2, 20) * 5,
    }


def _solve_event(p: Params) -> Solution:
    start = datetime.fromisoformat(f"{p['date']}T{p['start']}")
    end = start + timedelta(minutes=p["minutes"])
    calls = [_event(start, end, p["who"])]
    steps = [f"{p['start']} plus {p['minutes']} minutes is {end:%H:%M}"]
    if "gap" not in p:
        return Solution(_json(calls[0]), tuple(steps), "a meeting past midnight ends on the next date")
    second = end + timedelta(minutes=p["gap"])
    calls.append(_event(second, second + timedelta(minutes=p["second"]), p["who"]))
    steps.append(f"after a break of {p['gap']} minutes the second starts at {second:%H:%M}")
    return Solution(_json(calls), tuple(steps), "a meeting past midnight ends on the next date")


def _event(start: datetime, end: datetime, who: str) -> dict[str, Any]:
    return {
        "name": "create_event",
        "arguments": {
            "start": start.isoformat(timespec="minutes"),
            "end": end.isoformat(timespec="minutes"),
            "guest": who,
        },
    }


# -- read a tool's result


def _sample_result(rng: Random, hard: bool) -> dict[str, Any]:
    rows = [
        {"item": item, "price": rng.randrange(3, 300), "stock": rng.randrange(0, 40)}
        for item in rng.sample(_ITEMS, 5 if hard else 3)
    ]
    rows[0]["stock"] = rng.randrange(1, 40)
    return {"rows": rows, "item": rng.choice(rows)["item"], "count": rng.randrange(2, 20)}


def _solve_result(p: Params) -> Solution:
    rows = p["rows"]
    if "item" in p:
        (row,) = [row for row in rows if row["item"] == p["item"]]
        return Solution(
            f"{row['price'] * p['count']} euros",
            (f"one {p['item']} costs {row['price']}", f"{row['price']} x {p['count']}"),
            "the price is a piece",
        )
    value = sum(row["price"] * row["stock"] for row in rows if row["stock"] > 0)
    parts = ", ".join(f"{row['item']} {row['price']} x {row['stock']}" for row in rows)
    return Solution(f"{value} euros", (parts, f"sum {value}"), "items out of stock add nothing")


# -- which argument is missing


_NEEDED = {
    "book_table": ("restaurant", "people", "time"),
    "order_taxi": ("pickup", "destination", "time"),
    "rent_bike": ("station", "hours", "name"),
    "print_file": ("file", "copies", "printer"),
}


def _sample_missing(rng: Random, hard: bool) -> dict[str, Any]:
    tool = rng.choice(sorted(_NEEDED))
    needed = _NEEDED[tool]
    gone = rng.choice(needed)
    given = {name: rng.randrange(1, 9999) for name in needed if name != gone}
    if hard:
        given |= {extra: rng.randrange(1, 99) for extra in rng.sample(("note", "colour", "priority", "tip"), 2)}
    keys = list(given)
    rng.shuffle(keys)
    return {"tool": tool, "needed": needed, "given": {key: given[key] for key in keys}}


def _solve_missing(p: Params) -> Solution:
    (gone,) = [name for name in p["needed"] if name not in p["given"]]
    return Solution(
        gone,
        (f"{p['tool']} needs {', '.join(p['needed'])}", f"given are {', '.join(p['given'])}"),
        "extra arguments do not replace a missing one",
    )


FAMILIES = (
    Family(
        "forecast-call",
        "tool_use",
        "api_usage",
        (
            "The tool get_forecast(city, days, unit) is available. Write the JSON call, an object with name and arguments, for a forecast of {days:int} days for {city:word} in {unit:word}.",
        ),
        (
            "The tool get_forecast(city, days, unit, wind_unit, from_hour, station) is available. Write the JSON call, an object with name and arguments, for {city:word} over {days:int} days in {unit:word}, wind in {wind:word}, starting at hour {hour:int}, measured by station {id:int}.",
        ),
        _sample_call,
        _solve_call,
        _same_json(_solve_call),
        _mutate_json,
    ),
    Family(
        "choose-tool",
        "tool_use",
        "api_usage",
        (
            "You are the assistant of {user:word} and have these tools.\n{tools:lines}\nWrite the one JSON call, an object with name and arguments, that serves this request.\n{wish:lines}",
        ),
        (
            "Four tools are registered for {user:word}; most do not fit.\n{tools:lines}\nThink which one does, then write its JSON call, an object with name and arguments, for this request.\n{wish:lines}",
        ),
        _sample_choose,
        _solve_choose,
        _same_json(_solve_choose),
        _mutate_json,
    ),
    Family(
        "calendar",
        "tool_use",
        "api_usage",
        (
            "Write the JSON call of create_event(start, end, guest) for a meeting with {who:word} on {date:date} at {start:clock} that lasts {minutes:int} minutes. Times look like 2026-01-31T09:05. The call is an object with name and arguments.",
        ),
        (
            "Plan two meetings with {who:word} on {date:date}: the first starts at {start:clock} and lasts {minutes:int} minutes, the second follows after a break of {gap:int} minutes and lasts {second:int} minutes. Write a JSON list of two create_event(start, end, guest) calls, each an object with name and arguments; times look like 2026-01-31T09:05.",
        ),
        _sample_event,
        _solve_event,
        _same_json(_solve_event),
        _mutate_json,
    ),
    Family(
        "read-result",
        "tool_use",
        "api_usage",
        ("A tool returned {rows:json}. What do {count:int} pieces of the {item:word} cost, in euros?",),
        ("A tool returned {rows:json}. What is the whole stock worth at these prices, in euros?",),
        _sample_result,
        _solve_result,
        lambda p, answer: number_is(_solve_result(p).answer.split()[0])(answer),
    ),
    Family(
        "missing-argument",
        "tool_use",
        "configuration",
        (
            "The tool {tool:code_name} needs the arguments {needed:words}. The user has given {given:json}. Which argument must you ask for? Answer with its name.",
        ),
        (
            "Before a call of {tool:code_name}, check its arguments {needed:words} against {given:json}, of which some are not needed at all. Which one must you still ask the user for? Answer with its name.",
        ),
        _sample_missing,
        _solve_missing,
        lambda p, answer: same_text(_solve_missing(p).answer, answer),
        lambda p, answer, rng: rng.choice([name for name in p["needed"] if name != answer]),
    ),
)
