"""Common-sense families over a small hand-written knowledge base: sizes, weights, legs, materials, causes, times of day."""

from __future__ import annotations

from random import Random
from typing import Any

from cogumi.teachers.procedural.family import Family, Params, Solution, final_line, number_is, same_text

_GRAMS = {
    "feather": 1,
    "coin": 6,
    "pencil": 9,
    "egg": 60,
    "apple": 180,
    "brick": 2500,
    "cat": 4500,
    "bicycle": 14000,
    "sofa": 45000,
    "piano": 250000,
    "horse": 500000,
    "car": 1400000,
    "elephant": 5000000,
    "bus": 12000000,
    "locomotive": 90000000,
    "spoon": 40,
    "loaf": 800,
    "laptop": 1700,
    "suitcase": 3500,
    "goat": 60000,
}
_LEGS = {
    "spider": 8,
    "ant": 6,
    "dog": 4,
    "hen": 2,
    "crab": 10,
    "bee": 6,
    "horse": 4,
    "duck": 2,
    "beetle": 6,
    "cat": 4,
    "scorpion": 8,
    "goat": 4,
}
_SECONDS = {
    "clap": 1,
    "sneeze": 2,
    "song": 200,
    "lunch": 1800,
    "film": 7200,
    "flight": 30000,
    "holiday": 900000,
    "summer": 7800000,
    "childhood": 400000000,
    "century": 3000000000,
    "traffic light": 60,
    "night": 30000 + 5000,
}
_MATERIAL = {
    "window": "glass",
    "nail": "iron",
    "newspaper": "paper",
    "sweater": "wool",
    "candle": "wax",
    "tyre": "rubber",
    "brick wall": "clay",
    "bookshelf": "wood",
}
_BEHAVES = {
    "glass": "shatter when dropped",
    "iron": "rust in the rain",
    "paper": "tear by hand",
    "wool": "keep a person warm",
    "wax": "melt near a flame",
    "rubber": "bounce back when bent",
    "clay": "harden in a kiln",
    "wood": "float on water",
}
_CHAINS = (
    ("plant the seed", "water the soil", "see it sprout", "pick the fruit", "eat the fruit"),
    ("fill the kettle", "boil the water", "pour the tea", "let it cool", "drink the tea"),
    ("buy the ticket", "board the train", "find the seat", "leave the train", "walk home"),
    ("write the letter", "seal the envelope", "stick on the stamp", "post the letter", "wait for a reply"),
    ("undress", "step into the shower", "wash the hair", "dry off", "get dressed"),
    ("mix the dough", "let it rise", "shape the loaf", "bake the bread", "slice the bread"),
)
_NAMES = ("Nora", "Ali", "Petra", "Juan", "Mei", "Oskar", "Zoe", "Ravi", "Edith", "Luka")
_TOOLS = {
    "saw": "cut a board",
    "thermometer": "measure a fever",
    "ladder": "reach a high shelf",
    "needle": "sew on a button",
    "torch": "see in a dark cellar",
    "rope": "tie a boat to a pier",
    "sieve": "drain pasta",
    "whisk": "beat egg whites",
}


def _sample_heavy(rng: Random, hard: bool) -> dict[str, Any]:
    return {"things": tuple(rng.sample(sorted(_GRAMS), 5 if hard else 3)), "who": rng.choice(_NAMES)}


def _solve_heavy(p: Params, whole: bool) -> Solution:
    ranked = sorted(p["things"], key=_GRAMS.__getitem__)
    answer = ", ".join(ranked) if whole else ranked[-1]
    return Solution(answer, ("by usual weight: " + " < ".join(ranked),), "usual specimens are meant, not toys")


def _solve_long(p: Params, whole: bool) -> Solution:
    ranked = sorted(p["things"], key=_SECONDS.__getitem__)
    return Solution(
        ", ".join(ranked) if whole else ranked[-1],
        ("by usual length: " + " < ".join(ranked),),
        "usual cases are meant",
    )


def _sample_long(rng: Random, hard: bool) -> dict[str, Any]:
    return {"things": tuple(rng.sample(sorted(_SECONDS), 5 if hard else 3)), "who": rng.choice(_NAMES)}


def _sample_legs(rng: Random, hard: bool) -> dict[str, Any]:
    animals = rng.sample(sorted(_LEGS), 4 if hard else 2)
    return {
        "herd": {animal: rng.randrange(1, 12 if hard else 7) for animal in animals},
        "gone": rng.randrange(1, 9),
        "who": rng.choice(_NAMES),
        "stools": rng.randrange(1, 9),
    }


def _solve_legs(p: Params) -> Solution:
    parts = {animal: count * _LEGS[animal] for animal, count in p["herd"].items()}
    total = sum(parts.values()) + 3 * p.get("stools", 0)
    steps = [f"{animal}: {p['herd'][animal]} x {_LEGS[animal]} = {legs}" for animal, legs in parts.items()]
    if "stools" in p:
        steps.append(f"stools: {p['stools']} x 3 = {3 * p['stools']}")
    return Solution(f"{total} legs", tuple(steps), "each animal is whole and healthy")


def _sample_material(rng: Random, hard: bool) -> dict[str, Any]:
    asked = rng.choice(sorted(_MATERIAL))
    others = rng.sample([thing for thing in _MATERIAL if thing != asked], 4 if hard else 2)
    things = [asked, *others]
    rng.shuffle(things)
    return {"does": _BEHAVES[_MATERIAL[asked]], "things": tuple(things), "who": rng.choice(_NAMES)}


def _solve_material(p: Params) -> Solution:
    material = next(m for m, does in _BEHAVES.items() if does == p["does"])
    thing = next(t for t in p["things"] if _MATERIAL[t] == material)
    return Solution(
        thing,
        (f"a {thing} is made of {material}", f"{material} will {p['does']}"),
        "the others are of other materials",
    )


def _sample_steps(rng: Random, hard: bool) -> dict[str, Any]:
    chain = list(rng.choice(_CHAINS))
    kept = chain if hard else sorted(rng.sample(chain, 3), key=chain.index)
    shuffled = list(kept)
    rng.shuffle(shuffled)
    return {"things": tuple(shuffled), "who": rng.choice(_NAMES), "minute": rng.randrange(1, 60)}


def _solve_steps(p: Params) -> Solution:
    chain = next(c for c in _CHAINS if set(p["things"]) <= set(c))
    ordered = [step for step in chain if step in p["things"]]
    return Solution(", ".join(ordered), ("each step makes the next one possible",), "no step can be moved forward")


def _sample_tool(rng: Random, hard: bool) -> dict[str, Any]:
    asked = rng.choice(sorted(_TOOLS))
    others = rng.sample([tool for tool in _TOOLS if tool != asked], 5 if hard else 3)
    things = [asked, *others]
    rng.shuffle(things)
    return {"job": _TOOLS[asked], "things": tuple(things), "who": rng.choice(_NAMES)}


def _solve_tool(p: Params) -> Solution:
    tool = next(t for t, job in _TOOLS.items() if job == p["job"])
    return Solution(tool, (f"a {tool} is made to {p['job']}",), "the others serve other jobs")


def _another(p: Params, answer: str, rng: Random) -> str:
    return str(rng.choice([thing for thing in p["things"] if thing != answer]))


def _list_or_word(p: Params, answer: str, rng: Random) -> str:
    items = answer.split(", ")
    if len(items) == 1:
        return _another(p, answer, rng)
    first, second = rng.sample(range(len(items)), 2)
    items[first], items[second] = items[second], items[first]
    return ", ".join(items)


def _ranking(name: str, easy: str, hard: str, sample: Any, solve: Any) -> Family:
    """A family that asks for the top of a list (easy, three things) or for the whole order (hard, five)."""

    def decide(p: Params) -> Solution:
        solution: Solution = solve(p, len(p["things"]) > 3)
        return solution

    return Family(
        name,
        "common_sense",
        "practical_knowledge",
        (easy,),
        (hard,),
        sample,
        decide,
        lambda p, answer: same_text(decide(p).answer, final_line(answer)),
        _list_or_word,
    )


FAMILIES = (
    _ranking(
        "heaviest",
        "{who:word} lifts three things: {things:words}. Which is usually the heaviest? Answer with its name.",
        "{who:word} sorts things by weight: {things:words}. List them from the lightest to the heaviest, separated by commas.",
        _sample_heavy,
        _solve_heavy,
    ),
    _ranking(
        "longest",
        "{who:word} thinks of how long these last: {things:words}. Which usually takes the most time? Answer with its name.",
        "{who:word} sorts these by how long they last: {things:words}. List them from the shortest to the longest, separated by commas.",
        _sample_long,
        _solve_long,
    ),
    Family(
        "legs",
        "common_sense",
        "physical_reasoning",
        ("{who:word} keeps these animals: {herd:json}. How many legs do they have together?",),
        (
            "{who:word} keeps these animals in a barn with {stools:int} three-legged stools: {herd:json}. How many legs stand in the barn, not counting {who:word}?",
        ),
        _sample_legs,
        _solve_legs,
        lambda p, answer: number_is(_solve_legs(p).answer.split()[0])(answer),
    ),
    Family(
        "material",
        "common_sense",
        "physical_reasoning",
        ("{who:word} asks which of these will {does:phrase}: {things:words}. Answer with one of them.",),
        (
            "{who:word} knows what things are made of. Because of its material, one of these will {does:phrase}: {things:words}. Which one? Answer with its name.",
        ),
        _sample_material,
        _solve_material,
        lambda p, answer: same_text(_solve_material(p).answer, answer),
        _another,
    ),
    Family(
        "usual-order",
        "common_sense",
        "social_norms",
        (
            "{who:word} has {minute:int} minutes to plan. Put these in the order in which people do them, separated by commas: {things:words}.",
        ),
        (
            "{who:word} wrote a plan in {minute:int} minutes, but all its steps got mixed up. Put them in the order in which people do them, separated by commas: {things:words}.",
        ),
        _sample_steps,
        _solve_steps,
        lambda p, answer: same_text(_solve_steps(p).answer, answer),
        _list_or_word,
    ),
    Family(
        "right-tool",
        "common_sense",
        "practical_knowledge",
        ("{who:word} wants to {job:phrase}. Which of these helps: {things:words}? Answer with its name.",),
        (
            "{who:word} may take only one thing along and has to {job:phrase}. Which of these should it be: {things:words}? Answer with its name.",
        ),
        _sample_tool,
        _solve_tool,
        lambda p, answer: same_text(_solve_tool(p).answer, answer),
        _another,
    ),
)
