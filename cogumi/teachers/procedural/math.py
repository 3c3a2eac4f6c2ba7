"""Maths families: percentages, speed, equations, rectangles, probability, series."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, number_is

_GOODS = ("jacket", "lamp", "bicycle", "kettle", "desk", "camera", "backpack", "blender", "tent", "guitar")
_NAMES = ("Mara", "Tom", "Ines", "Jonas", "Priya", "Omar", "Lena", "Kofi", "Yuki", "Carlos")


def _by_number(solve: Any) -> Any:
    """A verifier: the answer's last number is the gold answer's last number."""

    def verify(params: Params, answer: str) -> bool:
        gold = solve(params).answer
        return number_is(gold.split()[0].lstrip("$"))(answer)

    return verify


# -- percentages


def _sample_discount(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "name": rng.choice(_NAMES),
        "item": rng.choice(_GOODS),
        "price": rng.randrange(20, 400 if hard else 200) * 5,
        "off": rng.randrange(1, 10) * 10,
        "tax": rng.randrange(1, 5) * 5,
        "coupon": rng.randrange(2, 20),
    }


def _solve_discount(p: Params) -> Solution:
    reduced = Fraction(p["price"] * (100 - p["off"]), 100)
    steps = [
        f"{p['off']}% of {p['price']} is {_money(Fraction(p['price'] * p['off'], 100))}",
        f"so the reduced price is {_money(reduced)}",
    ]
    total = reduced
    if "tax" in p:
        after = reduced - p["coupon"]
        total = after * (100 + p["tax"]) / 100
        steps += [
            f"minus the ${p['coupon']} coupon leaves {_money(after)}",
            f"plus {p['tax']}% tax gives {_money(total)}",
        ]
    return Solution(
        f"{_money(total)} dollars", tuple(steps), "the tax is taken on the price after the coupon, not before"
    )


def _money(value: Fraction) -> str:
    """Exact where it is whole, else rounded half up to cents."""
    cents = int(value * 100 + Fraction(1, 2))
    return str(cents // 100) if cents % 100 == 0 else f"{cents // 100}.{cents % 100:02d}"


# -- speed


def _sample_speed(rng: Random, hard: bool) -> dict[str, Any]:
    hours, speed = rng.randrange(2, 9), rng.randrange(30, 121)
    second_hours, second_speed = rng.randrange(2, 9), rng.randrange(30, 121)
    return {
        "km": hours * speed,
        "hours": hours,
        "speed2": second_speed,
        "hours2": second_hours,
        "what": rng.choice(("train", "bus", "lorry", "car", "ferry")),
    }


def _solve_speed(p: Params) -> Solution:
    if "speed2" not in p:
        speed = Fraction(p["km"], p["hours"])
        return Solution(
            f"{_money(speed)} km/h",
            (f"speed = distance / time = {p['km']} / {p['hours']}",),
            "units are km and hours",
        )
    distance, hours = p["km"] + p["speed2"] * p["hours2"], p["hours"] + p["hours2"]
    steps = (
        f"the second part covers {p['speed2']} x {p['hours2']} = {p['speed2'] * p['hours2']} km",
        f"the whole way is {distance} km in {hours} hours",
        f"average speed = {distance} / {hours}",
    )
    return Solution(
        f"{_money(Fraction(distance, hours))} km/h",
        steps,
        "the mean of the two speeds would be wrong: the times differ",
    )


def _verify_speed(p: Params, answer: str) -> bool:
    return number_is(_solve_speed(p).answer.split()[0])(answer)


# -- linear equations


def _sample_equation(rng: Random, hard: bool) -> dict[str, Any]:
    x = rng.randrange(-12 if hard else 1, 13)
    a, c = rng.randrange(2, 10), rng.randrange(2, 10)
    c = c if c != a else c + 1
    b = rng.randrange(1, 40)
    return {"a": a, "b": b, "c": c, "d": (a - c) * x + b, "e": a * x + b}


def _solve_equation(p: Params) -> Solution:
    if "c" not in p:
        x = Fraction(p["e"] - p["b"], p["a"])
        steps: tuple[str, ...] = (
            f"subtract {p['b']}: {p['a']}x = {p['e'] - p['b']}",
            f"divide by {p['a']}: x = {x}",
        )
    else:
        x = Fraction(p["d"] - p["b"], p["a"] - p["c"])
        steps = (
            f"bring x to the left: {p['a'] - p['c']}x + {p['b']} = {p['d']}",
            f"subtract {p['b']}: {p['a'] - p['c']}x = {p['d'] - p['b']}",
            f"divide by {p['a'] - p['c']}: x = {x}",
        )
    return Solution(str(x), steps, "putting x back makes both sides equal")


# -- rectangles


def _sample_rectangle(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "w": rng.randrange(5, 90),
        "h": rng.randrange(5, 90),
        "border": rng.randrange(1, 6),
        "cost": rng.randrange(3, 30),
    }


def _solve_rectangle(p: Params) -> Solution:
    if "border" not in p:
        return Solution(
            f"{p['w'] * p['h']} square metres", (f"area = {p['w']} x {p['h']}",), "both sides are in metres"
        )
    outer = (p["w"] + 2 * p["border"]) * (p["h"] + 2 * p["border"])
    path = outer - p["w"] * p["h"]
    steps = (
        f"with the path the sides are {p['w'] + 2 * p['border']} and {p['h'] + 2 * p['border']}",
        f"outer area {outer}, inner area {p['w'] * p['h']}, path {path} square metres",
        f"cost = {path} x {p['cost']}",
    )
    return Solution(f"{path * p['cost']} dollars", steps, "the path adds its width on both sides of each length")


# -- probability


def _sample_draw(rng: Random, hard: bool) -> dict[str, Any]:
    red, blue, green = rng.randrange(2, 25), rng.randrange(2, 25), rng.randrange(2, 25)
    return {"red": red, "blue": blue, "green": green}


def _solve_draw(p: Params) -> Solution:
    total = p["red"] + p["blue"] + p.get("green", 0)
    if "green" not in p:
        return Solution(
            str(Fraction(p["red"], total)),
            (f"{p['red']} of {total} marbles are red",),
            "every marble is equally likely",
        )
    both = Fraction(p["red"] * (p["red"] - 1), total * (total - 1))
    steps = (
        f"first red: {p['red']}/{total}",
        f"second red, with one red gone: {p['red'] - 1}/{total - 1}",
        f"multiply: {p['red'] * (p['red'] - 1)}/{total * (total - 1)} = {both}",
    )
    return Solution(str(both), steps, "without putting back, the second draw is from one marble fewer")


# -- series


def _sample_series(rng: Random, hard: bool) -> dict[str, Any]:
    first, step = rng.randrange(1, 60), rng.randrange(2, 15)
    return {
        "first": first,
        "second": first + step,
        "third": first + 2 * step,
        "n": rng.randrange(15, 60) if hard else rng.randrange(6, 15),
    }


def _solve_series(p: Params, total: bool) -> Solution:
    step = p["second"] - p["first"]
    last = p["first"] + (p["n"] - 1) * step
    steps = [
        f"each term is {step} more than the one before",
        f"term {p['n']} = {p['first']} + {p['n'] - 1} x {step} = {last}",
    ]
    if not total:
        return Solution(str(last), tuple(steps), "there is one step fewer than there are terms")
    value = p["n"] * (p["first"] + last) // 2
    steps.append(f"sum = {p['n']} x ({p['first']} + {last}) / 2 = {value}")
    return Solution(str(value), tuple(steps), "there is one step fewer than there are terms")


FAMILIES = (
    Family(
        "discount",
        "math",
        "word_problems",
        (
            "{name:word} buys a {item:word} that costs ${price:int}, with {off:int}% off. How many dollars does {name:word} pay?",
            "A {item:word} is marked ${price:int} and sold at a discount of {off:int}%. What is its price in dollars for {name:word}?",
        ),
        (
            "{name:word} buys a {item:word} marked ${price:int} at {off:int}% off, then uses a ${coupon:int} coupon, and pays {tax:int}% tax on what is left. How many dollars does {name:word} pay, to the cent?",
        ),
        _sample_discount,
        _solve_discount,
        _by_number(_solve_discount),
    ),
    Family(
        "average-speed",
        "math",
        "word_problems",
        (
            "A {what:word} covers {km:int} km in {hours:int} hours. What is its average speed in km/h?",
            "In {hours:int} hours a {what:word} travels {km:int} km at a steady speed. What is that speed in km/h?",
        ),
        (
            "A {what:word} covers {km:int} km in {hours:int} hours and then goes on at {speed2:int} km/h for {hours2:int} hours. What is its average speed over the whole way in km/h, rounded to two decimals?",
        ),
        _sample_speed,
        _solve_speed,
        _verify_speed,
    ),
    Family(
        "linear-equation",
        "math",
        "algebra",
        ("Solve for x: {a:int}x + {b:int} = {e:int}", "For which x does {a:int}x + {b:int} equal {e:int}?"),
        (
            "Solve for x: {a:int}x + {b:int} = {c:int}x + {d:int}",
            "For which x do {a:int}x + {b:int} and {c:int}x + {d:int} have the same value?",
        ),
        _sample_equation,
        _solve_equation,
        _by_number(_solve_equation),
    ),
    Family(
        "rectangle",
        "math",
        "geometry",
        ("What is the area in square metres of a rectangular garden that is {w:int} m long and {h:int} m wide?",),
        (
            "A rectangular garden of {w:int} m by {h:int} m gets a path {border:int} m wide all around it, at ${cost:int} a square metre. What does the path cost in dollars?",
        ),
        _sample_rectangle,
        _solve_rectangle,
        _by_number(_solve_rectangle),
    ),
    Family(
        "marbles",
        "math",
        "word_problems",
        (
            "A bag holds {red:int} red and {blue:int} blue marbles. What is the probability of drawing a red one, as a fraction in lowest terms?",
        ),
        (
            "A bag holds {red:int} red, {blue:int} blue and {green:int} green marbles. Two are drawn without putting the first back. What is the probability that both are red, as a fraction in lowest terms?",
        ),
        _sample_draw,
        _solve_draw,
        _by_number(_solve_draw),
    ),
    Family(
        "series-term",
        "math",
        "arithmetic",
        (
            "A sequence starts {first:int}, {second:int}, {third:int} and goes on in equal steps. What is its term number {n:int}?",
        ),
        (
            "A sequence starts {first:int}, {second:int}, {third:int} and goes on in equal steps. Which value stands at position {n:int}, when the start is position 1?",
        ),
        _sample_series,
        lambda p: _solve_series(p, total=False),
        _by_number(lambda p: _solve_series(p, total=False)),
    ),
    Family(
        "series-sum",
        "math",
        "algebra",
        (
            "What is the sum of the first {n:int} terms of the sequence {first:int}, {second:int}, {third:int} with equal steps?",
        ),
        (
            "The rows of a theatre have {first:int}, {second:int}, {third:int} seats and so on in equal steps. How many seats have the first {n:int} rows together?",
        ),
        _sample_series,
        lambda p: _solve_series(p, total=True),
        _by_number(lambda p: _solve_series(p, total=True)),
    ),
)
