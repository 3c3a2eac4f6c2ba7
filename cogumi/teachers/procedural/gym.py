"""Reasoning Gym (Stojanovski et al. 2025, arXiv:2505.24760) as a source of verified questions: the extra `gym`.

Of its families those are allowed whose own gold answers score 1.0 and wrong ones below a half, whose rows hardly repeat
(95% unique in 1,000), come fast (500 a second) and are short (1,500 characters); `tests/unit/teachers/test_gym.py`
holds each of them to that. A row is named by family, seed and place, and its scorer is found again by that name alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

from cogumi.errors import InputError
from cogumi.extras import need
from cogumi.teachers.procedural.family import final_line

GYM = "reasoning_gym"
GYM_FAMILIES: dict[str, tuple[str, ...]] = {
    "math": (
        "basic_arithmetic", "bitwise_arithmetic", "calendar_arithmetic", "chain_sum", "complex_arithmetic",
        "count_bits", "count_primes", "decimal_arithmetic", "decimal_chain_sum", "dice", "fraction_simplification",
        "gcd", "gsm_symbolic", "leg_counting", "number_format", "power_function", "simple_equations",
        "simple_geometry", "time_intervals",
    ),
    "reasoning": (
        "ab", "aiw", "arc_1d", "base_conversion", "binary_alternation", "binary_matrix", "color_cube_rotation",
        "course_schedule", "cryptarithm", "emoji_mystery", "family_relationships", "group_anagrams",
        "isomorphic_strings", "kakurasu", "knights_knaves", "letter_counting", "letter_jumble", "manipulate_matrix",
        "maze", "mini_sudoku", "modulo_grid", "number_filtering", "number_sorting", "palindrome_generation",
        "palindrome_partitioning", "path_star", "pool_matrix", "ransom_note", "rotate_matrix", "shortest_path",
        "spiral_matrix", "string_insertion", "string_manipulation", "survo", "syllogism", "tsumego",
        "word_sequence_reversal", "word_sorting",
    ),
}  # fmt: skip
_ALLOWED = frozenset(name for names in GYM_FAMILIES.values() for name in names)
_BLOCK = 1000  # rows of one dataset object; the place of a row counts on from block to block
_RIGHT = 1.0 - 1e-9  # some scorers give a part of the point for an answer that is near


@dataclass(frozen=True, slots=True)
class GymTask:
    """One row: row `place` of a family, for a seed."""

    family: str
    seed: int
    place: int
    question: str
    gold: str
    entry: dict[str, Any] = field(compare=False, repr=False)  # what its scorer works from

    @property
    def name(self) -> str:
        """What the row is found again by: "reasoning_gym/gcd/7/12"."""
        return f"{GYM}/{self.family}/{self.seed}/{self.place}"


def gym_tasks(domain: str, seed: int) -> Iterator[GymTask]:
    """Rows of a domain's families in turn, without end, without a question twice, an empty answer, or a gold answer
    that the row's own scorer refuses (two in 60,000).

    Raises InputError extra-missing without the extra `gym`.
    """
    seen: set[str] = set()
    place = 0
    while True:
        for family in GYM_FAMILIES[domain]:
            task = gym_task(family, seed, place)
            text = " ".join(task.question.casefold().split())
            if text not in seen and task.gold.strip() and is_right(task, task.gold):
                seen.add(text)
                yield task
        place += 1


def gold_answers(domain: str, seed: int, rows: int) -> Iterator[tuple[str, str]]:
    """The first rows of a domain as (question, gold answer): what a rehearsal's teacher answers from."""
    return ((task.question.strip(), task.gold) for task in islice(gym_tasks(domain, seed), rows))


def find_task(name: str, question: str) -> GymTask | None:
    """The row of this name where its question is this one, else None: names may come from a model."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != GYM or parts[1] not in _ALLOWED:
        return None
    if not (parts[2].isdecimal() and parts[3].isdecimal()) or len(parts[2] + parts[3]) > 20:
        return None
    try:
        task = gym_task(parts[1], int(parts[2]), int(parts[3]))
    except InputError:
        return None  # the extra is not installed here: nothing can check the row
    return task if task.question.strip() == question.strip() else None


def is_right(task: GymTask, answer: str) -> bool:
    """Whether the row's own scorer takes the whole answer, or its final line."""
    data = _dataset(task.family, task.seed, task.place // _BLOCK)
    return any(data.score_answer(text, task.entry) >= _RIGHT for text in (answer, final_line(answer).strip()))


def gym_task(family: str, seed: int, place: int) -> GymTask:
    entry = _dataset(family, seed, place // _BLOCK)[place % _BLOCK]
    return GymTask(family, seed, place, str(entry["question"]), str(entry["answer"]), entry)


@lru_cache(maxsize=128)
def _dataset(family: str, seed: int, block: int) -> Any:
    need("dataset.augment reasoning_gym", "reasoning_gym")
    import reasoning_gym  # noqa: PLC0415 - an extra

    return reasoning_gym.create_dataset(family, size=_BLOCK, seed=(seed + 1_000_003 * block) % 2**32)
