"""score: one model on the rows of a suite: likelihood of the references, and its own answers, judged.

    with open_candidate(candidate, "cuda:0") as opened, Judge(open_sandbox()) as judge:
        scores = score(opened, "merged", rows, section, judge)

Answers are greedy. A choice is the letter of the highest likelihood, or the one that is written. Where programming
tasks are answered several times, those answers are sampled besides, and pass@k is of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from cogumi.evaluate.asking import FORM, asked
from cogumi.evaluate.benchmarks.mmlu import LETTERS
from cogumi.evaluate.candidates import Opened, open_candidate
from cogumi.evaluate.judging import Answer, Judge, Judgement, Outcome, pass_at_k
from cogumi.evaluate.perplexity import Likelihood
from cogumi.evaluate.request import Candidate
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.evaluate.scores import RowScore, Scores, cluster_of, figures
from cogumi.lm.chat import ChatFormat, encode_examples
from cogumi.lm.device import Device
from cogumi.lm.model import generation_config
from cogumi.phases import within
from cogumi.recipe import ValidationSection
from cogumi.training.draft.answers import prompt_of
from cogumi.training.writing import Writing, write_answers

_READ = ChatFormat(train_eot=False)
"""Of a response its text alone: the end of a turn is no byte of it."""


@dataclass(slots=True)
class Scored:
    """The scores, and pass@k of programming tasks by k where each was answered more than once."""

    scores: Scores
    pass_at: dict[int, float] = field(default_factory=dict)


def score_candidate(
    candidate: Candidate,
    device: Device,
    rows: Sequence[BenchmarkRow],
    how: ValidationSection,
    judge: Judge,
) -> tuple[Scores, dict[str, Any]]:
    """The scores of a model that is opened for it, and its figures with all that they depend on.

    Raises InputError extra-missing, and as open_candidate.
    """
    began = time.monotonic()
    with within(candidate.name), open_candidate(candidate, device.torch_name) as opened:
        scored = score(opened, candidate.name, rows, how, judge)
        parameters = sum(p.numel() for p in opened.model.parameters())
    depends = {
        "dtype": opened.dtype, "decoding": "greedy", "max_new_tokens": how.max_new_tokens, "prompts": FORM,
        "choices": how.choices, "few_shot": 0, "seed": how.seed,
        "packed": opened.packed is not None, "torch": str(torch.__version__),
    }  # fmt: skip
    return scored.scores, {
        **figures(scored.scores.rows),
        "pass_at": {str(k): share for k, share in scored.pass_at.items()}, "how": depends,
        "artifact": candidate.artifact_id or candidate.source, "parameters": parameters, "device": device.to_json(),
        "seconds": round(time.monotonic() - began, 2),
    }  # fmt: skip


def score(
    opened: Opened,
    name: str,
    rows: Sequence[BenchmarkRow],
    how: ValidationSection,
    judge: Judge,
) -> Scored:
    """Of every row, in the order given. Raises InputError extra-missing."""
    with within("references"):
        likelihoods = _likelihoods(opened, rows, how)
    found: dict[int, tuple[Judgement, str]] = {}
    ranked = {Scoring.RANKED, Scoring.CHOICE} if how.choices == "loglikelihood" else {Scoring.RANKED}
    choices = [place for place, row in enumerate(rows) if row.scoring in ranked]
    with within("choices"):
        found |= dict(zip(choices, _chosen(opened, [rows[place] for place in choices], how), strict=True))
    written = [place for place in range(len(rows)) if place not in found]
    answers = _answers(opened, [rows[place] for place in written], Writing(how.max_new_tokens, 0.0, how.seed), how)
    judgeable = [(place, answer) for place, answer in zip(written, answers, strict=True) if answer is not None]
    judged = judge.judge([rows[place] for place, _ in judgeable], [answer for _, answer in judgeable])
    found |= {place: (one, answer.text) for (place, answer), one in zip(judgeable, judged, strict=True)}
    long = Judgement(Outcome.UNJUDGED, 0.0, "the prompt is too long"), ""
    made = [
        _row_score(row, likelihoods[place], *found.get(place, long), len(asked(row)[1].encode()))
        for place, row in enumerate(rows)
    ]
    return Scored(Scores(name, made), _pass_at(opened, rows, how, judge))


def _likelihoods(opened: Opened, rows: Sequence[BenchmarkRow], how: ValidationSection) -> list[Likelihood | None]:
    """Of the references; None where a row is too long or has no token."""
    encoded = encode_examples(opened.tokenizer, [asked(row) for row in rows], _READ)
    most = min(how.max_seq_length, opened.longest)
    short = [place for place, row in enumerate(encoded) if len(row.ids) <= most and any(row.mask)]
    found: list[Likelihood | None] = [None] * len(rows)
    for place, read in zip(short, opened.read([encoded[place] for place in short], how.token_budget), strict=True):
        found[place] = read
    return found


def _chosen(opened: Opened, rows: Sequence[BenchmarkRow], how: ValidationSection) -> list[tuple[Judgement, str]]:
    """The most likely choice of each row, its letter or itself; of equal ones the first. Answers of different lengths
    are compared by nats a letter.
    """
    prompts, choices = _prompts(opened, rows), [_choices(row) for row in rows]
    words = iter(opened.tokenizer.encode_many([choice for each in choices for choice in each]))
    options = [[next(words) for _ in each] for each in choices]
    most = min(how.max_seq_length, opened.longest)
    short = [place for place, ids in enumerate(prompts) if len(ids) + max(map(len, options[place])) <= most]
    asked_of = [prompts[place] for place in short], [options[place] for place in short]
    nats = opened.choose(*asked_of, how.token_budget)
    found = [(Judgement(Outcome.UNJUDGED, 0.0, "the prompt is too long"), "")] * len(rows)
    for place, each in zip(short, nats, strict=True):
        by_letter = [value / len(choice) for value, choice in zip(each, choices[place], strict=True)]
        choice = choices[place][by_letter.index(min(by_letter))]
        right = choice == rows[place].responses[0]
        found[place] = Judgement(Outcome.RIGHT if right else Outcome.WRONG, float(right)), choice
    return found


def _choices(row: BenchmarkRow) -> list[str]:
    given = row.more["choices"]
    return list(given) if row.scoring is Scoring.RANKED else list(LETTERS[: len(given)])


def _prompts(opened: Opened, rows: Sequence[BenchmarkRow]) -> list[list[int]]:
    """Tokens up to where the assistant begins."""
    return [prompt_of(row) for row in encode_examples(opened.tokenizer, [(asked(row)[0], "-") for row in rows], _READ)]


def _answers(
    opened: Opened, rows: Sequence[BenchmarkRow], how: Writing, limits: ValidationSection
) -> list[Answer | None]:
    """What the model writes; None where the prompt alone is too long."""
    prompts = _prompts(opened, rows)
    short = [place for place, ids in enumerate(prompts) if len(ids) < min(limits.max_seq_length, opened.longest)]
    ends = set(generation_config(opened.tokenizer).eos_token_id)
    found: list[Answer | None] = [None] * len(rows)
    written = write_answers(opened.model, [prompts[place] for place in short], how, opened.tokenizer) if short else []
    for place, row in zip(short, written, strict=True):
        ids = row.ids[len(prompts[place]) :]
        finished = bool(ids) and ids[-1] in ends
        found[place] = Answer(opened.tokenizer.decode(ids[:-1] if finished else ids), finished)
    return found


def _pass_at(opened: Opened, rows: Sequence[BenchmarkRow], how: ValidationSection, judge: Judge) -> dict[int, float]:
    """pass@1 and pass@k of sampled programs; nothing where each task is answered once."""
    tasks = [row for row in rows if row.scoring is Scoring.CODE]
    if how.code_samples == 1 or not tasks:
        return {}
    right = [0] * len(tasks)
    for sample in range(how.code_samples):
        writing = Writing(how.max_new_tokens, how.temperature, how.seed + sample)
        with within(f"sample {sample + 1} of {how.code_samples}"):
            answers = [answer or Answer("", False) for answer in _answers(opened, tasks, writing, how)]
            for place, judgement in enumerate(judge.judge(tasks, answers)):
                right[place] += judgement.outcome is Outcome.RIGHT
    ks = sorted({1, how.code_samples, *(k for k in (10, 100) if k < how.code_samples)})
    return {k: sum(pass_at_k(how.code_samples, each, k) for each in right) / len(tasks) for k in ks}


def _row_score(row: BenchmarkRow, read: Likelihood | None, judged: Judgement, answer: str, size: int) -> RowScore:
    return RowScore(
        row.key, row.source, row.domain, row.difficulty, row.subject, cluster_of(row), read.nats if read else None,
        read.tokens if read else 0, size, judged.right, judged.score, str(judged.outcome), judged.detail, answer,
    )  # fmt: skip
