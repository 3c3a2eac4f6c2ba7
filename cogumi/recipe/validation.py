"""The section of validation: what models are scored on, and how they answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cogumi.recipe.section import Section, Seed


class ValidationSection(Section):
    """Phase 1D: base, trained and merged models on the same rows, compared pair by pair."""

    benchmarks: dict[str, str] = Field(
        default_factory=dict, description="files at hand by name: drop, gpqa, gsm8k, humaneval, math, mgsm, mmlu"
    )
    rows: int = Field(100, ge=1, description="rows of each benchmark, in proportion by difficulty and subject")
    seed: Seed = Field(42, description="which rows")
    held_out_rows: int = Field(500, ge=0, description="rows of the dataset's own test part, at most")
    fresh_rows: int = Field(
        0, ge=0, description="questions of procedural families that no training row has, drawn anew"
    )
    ranked_rows: int = Field(
        0, ge=0, description="more of them, where the right answer is to be more likely than up to three wrong ones"
    )
    recorded: dict[str, str] = Field(
        default_factory=dict, description="CSV of recorded answers by benchmark: prompt, and True or False by model"
    )
    max_new_tokens: int = Field(512, ge=1, le=32768, description="tokens of an answer at most; longer ones are cut")
    max_seq_length: int = Field(
        2048, ge=8, le=131072, description="tokens of a row; longer ones are listed, not scored"
    )
    choices: Literal["loglikelihood", "generation"] = Field(
        "loglikelihood", description="how a choice is made: the most probable letter, or the one that is written"
    )
    code_samples: int = Field(1, ge=1, le=200, description="answers to each programming task, for pass@k")
    temperature: float = Field(0.8, gt=0, le=2, description="of those answers, where there are more than one")
    sandbox: Literal["bubblewrap", "docker", "off"] = Field(
        "bubblewrap", description="what programs run in; off: they are not judged"
    )
    most_contaminated: int = Field(0, ge=0, description="training rows that may hold a benchmark's question")
    samples: int = Field(3, ge=0, le=50, description="answers side by side: largest gains, largest losses, by chance")
    token_budget: int | None = Field(None, ge=1, description="most tokens that are read at once")
