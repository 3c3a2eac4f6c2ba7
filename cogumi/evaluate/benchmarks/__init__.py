"""Benchmarks by name: what each is, how its files become rows, and how it is known again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cogumi.evaluate.benchmarks import competition_maths, drop, gpqa, gsm8k, humaneval, mgsm, mmlu
from cogumi.evaluate.row import BenchmarkRow


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`read` gives the rows of a file or folder; `counts` are the sizes that its published parts have."""

    name: str
    read: Callable[[Path], Iterator[BenchmarkRow]]
    licence: str
    source: str
    counts: dict[str, int] = field(default_factory=dict)


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("drop", drop.read, "CC BY-SA 4.0", "Dua et al. 2019", {"dev": 9536}),
        Benchmark("gpqa", gpqa.read, "CC BY 4.0; its authors ask that rows are not republished",
                  "Rein et al. 2023", {"main": 448, "extended": 546, "diamond": 198}),
        Benchmark("gsm8k", gsm8k.read, "MIT", "Cobbe et al. 2021", {"test": 1319, "train": 7473}),
        Benchmark("humaneval", humaneval.read, "MIT", "Chen et al. 2021", {"test": 164}),
        Benchmark("math", competition_maths.read, "MIT", "Hendrycks et al. 2021", {"test": 5000, "train": 7500,
                                                                                   "500": 500}),
        Benchmark("mgsm", mgsm.read, "CC BY-SA 4.0", "Shi et al. 2022", {"a language": 250}),
        Benchmark("mmlu", mmlu.read, "MIT", "Hendrycks et al. 2020", {"test": 14042}),
    )
}  # fmt: skip
"""By the names that commands and recipes use."""
