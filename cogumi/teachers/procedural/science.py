"""Science families, for the ready ninth domain: density, Ohm's law, half-life, kinetic energy, dilution."""

from __future__ import annotations

from random import Random
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, number_is


def _check(solve: Any) -> Any:
    return lambda p, answer: number_is(solve(p).answer.split()[0])(answer)


def _sample_density(rng: Random, hard: bool) -> dict[str, Any]:
    volume, density = rng.randrange(2, 60), rng.randrange(2, 25)
    return {"mass": volume * density, "volume": volume, "side": rng.randrange(2, 30), "density": density}


def _solve_density(p: Params) -> Solution:
    if "side" not in p:
        return Solution(
            f"{p['mass'] // p['volume']} grams per cubic centimetre",
            (f"density = {p['mass']} / {p['volume']}",),
            "mass in g, volume in cm3",
        )
    mass = p["side"] ** 3 * p["density"]
    return Solution(
        f"{mass} g",
        (f"volume = {p['side']} cubed = {p['side'] ** 3} cm3", f"mass = {p['side'] ** 3} x {p['density']}"),
        "a cube has three equal sides",
    )


def _sample_ohm(rng: Random, hard: bool) -> dict[str, Any]:
    return {
        "amps": rng.randrange(1, 20),
        "ohms": rng.randrange(2, 90),
        "ohms2": rng.randrange(2, 90),
        "seconds": rng.randrange(2, 60),
    }


def _solve_ohm(p: Params) -> Solution:
    if "ohms2" not in p:
        return Solution(f"{p['amps'] * p['ohms']} V", (f"U = I x R = {p['amps']} x {p['ohms']}",), "in ampere and ohm")
    resistance = p["ohms"] + p["ohms2"]
    energy = p["amps"] ** 2 * resistance * p["seconds"]
    return Solution(
        f"{energy} J",
        (
            f"in series R = {resistance} ohm",
            f"P = I squared x R = {p['amps'] ** 2 * resistance} W",
            f"E = P x t = {energy} J",
        ),
        "current is the same everywhere in series",
    )


def _sample_half_life(rng: Random, hard: bool) -> dict[str, Any]:
    halvings, days, left = (
        rng.randrange(1, 4) if not hard else rng.randrange(4, 8),
        rng.randrange(2, 40),
        rng.randrange(1, 30),
    )
    return {"grams": left * 2**halvings, "days": days, "after": days * halvings, "left": left}


def _solve_half_life(p: Params) -> Solution:
    if "after" in p:
        halvings = p["after"] // p["days"]
        left = p["grams"] // 2**halvings
        return Solution(
            f"{left} g",
            (f"{p['after']} days are {halvings} half-lives", f"{p['grams']} / {2**halvings} = {left}"),
            "each half-life halves what is left",
        )
    halvings = (p["grams"] // p["left"]).bit_length() - 1
    return Solution(
        f"{halvings * p['days']} days",
        (
            f"{p['grams']} / {p['left']} = {p['grams'] // p['left']} = 2 to the {halvings}",
            f"{halvings} x {p['days']} days",
        ),
        "each half-life halves what is left",
    )


def _sample_energy(rng: Random, hard: bool) -> dict[str, Any]:
    return {"kg": rng.randrange(1, 60) * 2, "speed": rng.randrange(2, 40), "speed2": rng.randrange(41, 80)}


def _solve_energy(p: Params) -> Solution:
    if "speed2" not in p:
        return Solution(
            f"{p['kg'] * p['speed'] ** 2 // 2} J",
            (f"E = 1/2 m v squared = 1/2 x {p['kg']} x {p['speed'] ** 2}",),
            "speed in m/s",
        )
    work = p["kg"] * (p["speed2"] ** 2 - p["speed"] ** 2) // 2
    return Solution(
        f"{work} J",
        (
            f"E before = {p['kg'] * p['speed'] ** 2 // 2} J",
            f"E after = {p['kg'] * p['speed2'] ** 2 // 2} J",
            "work is the difference",
        ),
        "the squares are subtracted, not the speeds",
    )


def _sample_solution(rng: Random, hard: bool) -> dict[str, Any]:
    litres, grams = rng.randrange(2, 30), rng.randrange(2, 40)
    return {"litres": litres, "salt": litres * grams, "more": rng.randrange(1, 20) * litres, "target": grams}


def _solve_solution(p: Params) -> Solution:
    if "more" not in p:
        return Solution(
            f"{p['salt'] // p['litres']} g/l",
            (f"{p['salt']} / {p['litres']}",),
            "the salt is spread over all the water",
        )
    total = (p["litres"] + p["more"]) * p["target"] - p["salt"]
    return Solution(
        f"{total} g",
        (
            f"{p['litres'] + p['more']} litres need {(p['litres'] + p['more']) * p['target']} g",
            f"{p['salt']} g are there already",
        ),
        "the added water is fresh",
    )


FAMILIES = (
    Family(
        "density",
        "science",
        "quantitative",
        ("A stone weighs {mass:int} g and takes up {volume:int} cm3. What is its density in g/cm3?",),
        ("A solid cube of side {side:int} cm has a density of {density:int} g/cm3. What is its mass in grams?",),
        _sample_density,
        _solve_density,
        _check(_solve_density),
    ),
    Family(
        "ohm",
        "science",
        "quantitative",
        ("A current of {amps:int} A flows through {ohms:int} ohm. What is the voltage in volts?",),
        (
            "A current of {amps:int} A flows for {seconds:int} s through resistors of {ohms:int} and {ohms2:int} ohm in series. How many joules become heat?",
        ),
        _sample_ohm,
        _solve_ohm,
        _check(_solve_ohm),
    ),
    Family(
        "half-life",
        "science",
        "quantitative",
        (
            "A substance has a half-life of {days:int} days. Of {grams:int} g, how many grams are left after {after:int} days?",
        ),
        (
            "A substance has a half-life of {days:int} days. After how many days are {left:int} g left of {grams:int} g?",
        ),
        _sample_half_life,
        _solve_half_life,
        _check(_solve_half_life),
    ),
    Family(
        "kinetic-energy",
        "science",
        "quantitative",
        ("What is the kinetic energy in joules of {kg:int} kg moving at {speed:int} m/s?",),
        ("How much work in joules speeds {kg:int} kg up from {speed:int} m/s to {speed2:int} m/s?",),
        _sample_energy,
        _solve_energy,
        _check(_solve_energy),
    ),
    Family(
        "concentration",
        "science",
        "quantitative",
        ("{salt:int} g of salt are dissolved in {litres:int} litres of water. What is the concentration in g/l?",),
        (
            "A tank holds {litres:int} litres of water with {salt:int} g of salt. {more:int} litres of fresh water are added. How many grams of salt must follow to reach {target:int} g/l?",
        ),
        _sample_solution,
        _solve_solution,
        _check(_solve_solution),
    ),
)
