"""The reference functions of the coding families: gold answers and test cases are computed by running these."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Reference:
    """A function to be written: what it does, our own version, and how its inputs are drawn."""

    task: str
    function: Callable[..., Any]
    draw: Callable[[Random], tuple[Any, ...]]
    hard: bool

    @property
    def source(self) -> str:
        return inspect.getsource(self.function).strip()

    def cases(self, seed: int, count: int = 8) -> list[tuple[tuple[Any, ...], Any]]:
        """Inputs with the outputs of our own version."""
        rng = Random(seed)
        drawn = [self.draw(rng) for _ in range(count)]
        return [(arguments, self.function(*arguments)) for arguments in drawn]


def count_divisible(values, divisor):
    return sum(1 for value in values if value % divisor == 0)


def keep_longer(words, length):
    return [word for word in words if len(word) > length]


def rotate_left(values, steps):
    if not values:
        return []
    steps %= len(values)
    return values[steps:] + values[:steps]


def every_nth(values, step):
    return values[step - 1 :: step]


def clamp_all(values, low):
    return [max(low, value) for value in values]


def sum_of_digits(values, base):
    total = 0
    for value in values:
        value = abs(value)
        while value:
            total += value % base
            value //= base
    return total


def merge_close(values, gap):
    groups = []
    for value in sorted(values):
        if groups and value - groups[-1][1] <= gap:
            groups[-1][1] = value
        else:
            groups.append([value, value])
    return groups


def best_window(values, width):
    if width > len(values) or width <= 0:
        return None
    current = best = sum(values[:width])
    for leaving, entering in zip(values, values[width:], strict=False):
        current += entering - leaving
        best = max(best, current)
    return best


def pairs_with_sum(values, target):
    seen, pairs = set(), set()
    for value in values:
        if target - value in seen:
            pairs.add((min(value, target - value), max(value, target - value)))
        seen.add(value)
    return [list(pair) for pair in sorted(pairs)]


def most_common(values, count):
    tally = {}
    for value in values:
        tally[value] = tally.get(value, 0) + 1
    return sorted(tally, key=lambda value: (-tally[value], value))[:count]


def longest_run(values, limit):
    best = current = 0
    for value in values:
        current = current + 1 if value <= limit else 0
        best = max(best, current)
    return best


def chunk_sums(values, size):
    return [sum(values[start : start + size]) for start in range(0, len(values), size)]


def _ints(rng: Random, low: int = -20, high: int = 60, least: int = 0, most: int = 9) -> list[int]:
    return [rng.randint(low, high) for _ in range(rng.randint(least, most))]


def _ints_and(low: int, high: int, least: int = 0) -> Callable[[Random], tuple[Any, ...]]:
    return lambda rng: (_ints(rng, least=least), rng.randint(low, high))


def _words_and_length(rng: Random) -> tuple[Any, ...]:
    words = ["".join(rng.choice("abcdefg") for _ in range(rng.randint(1, 9))) for _ in range(rng.randint(0, 7))]
    return words, rng.randint(1, 7)


REFERENCES: dict[str, Reference] = {
    reference.function.__name__: reference
    for reference in (
        Reference(
            "returns how many of the integers in a list are divisible by a divisor",
            count_divisible,
            _ints_and(2, 7),
            False,
        ),
        Reference(
            "returns the words of a list that have more than a given number of letters, in order",
            keep_longer,
            _words_and_length,
            False,
        ),
        Reference(
            "returns a list rotated to the left by a number of steps; an empty list stays empty",
            rotate_left,
            _ints_and(0, 12),
            False,
        ),
        Reference(
            "returns every n-th element of a list, the first taken being element number n counted from 1",
            every_nth,
            _ints_and(1, 5),
            False,
        ),
        Reference(
            "returns a list with every value below a lower bound raised to that bound",
            clamp_all,
            _ints_and(-5, 20),
            False,
        ),
        Reference(
            "returns the sum of the digits, written in a given base, of the absolute values in a list",
            sum_of_digits,
            _ints_and(2, 10),
            True,
        ),
        Reference(
            "sorts a list and merges neighbours at most a gap apart into [first, last] groups",
            merge_close,
            _ints_and(1, 8),
            True,
        ),
        Reference(
            "returns the largest sum of any window of a given width in a list, or None if the list is shorter",
            best_window,
            _ints_and(1, 5),
            True,
        ),
        Reference(
            "returns the sorted distinct pairs [low, high] of values of a list that add up to a target, each element used once a pair",
            pairs_with_sum,
            _ints_and(0, 60),
            True,
        ),
        Reference(
            "returns the given number of most frequent values of a list, ties broken by the smaller value",
            most_common,
            _ints_and(1, 4),
            True,
        ),
        Reference(
            "returns the length of the longest run of neighbours that are all at most a limit",
            longest_run,
            _ints_and(0, 50),
            True,
        ),
        Reference(
            "returns the sums of consecutive chunks of a given size, the last chunk possibly shorter",
            chunk_sums,
            _ints_and(1, 4),
            True,
        ),
    )
}
