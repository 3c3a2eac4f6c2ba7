"""What drafts are worth on held-out prompts: acceptance by draft, decoding and domain, with 95% intervals by task.

    table = measure(target, draft, arms, questions, how)
    table.figures(), table.rows(), table.by_domain()

The target answers each prompt twice, by sampling at temperature 1 and greedily; all drafts are judged on the same two
texts, so differences are paired. The control proposes words by how often the target writes them, without looking at
the text: a draft that does no better has learned nothing of use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from cogumi.lm.chat import Encoded
from cogumi.lm.tokenizer import TrainingTokenizer
from cogumi.metrics.formatting import Sample
from cogumi.phases import report_phase, within
from cogumi.training.draft.acceptance import Accepted, acceptance
from cogumi.training.draft.answers import response_logits_by_row, response_tokens
from cogumi.training.gain import Mean, mean_of
from cogumi.training.writing import Writing, write_answers

UNIGRAM, SFT, DISTILLED = "unigram", "sft", "distilled"
SAMPLED, GREEDY = "sampled", "greedy"
_TEMPERATURES = {SAMPLED: 1.0, GREEDY: 0.0}
_EVAL_SEED = 77_777


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out prompt and where it comes from."""

    prompt: list[int]
    task: str
    domain: str


@dataclass(frozen=True, slots=True)
class Measuring:
    """The longest answer in tokens, the proposals of a round, and the seed of what is sampled."""

    most_tokens: int
    proposals: int
    seed: int


@dataclass(frozen=True, slots=True)
class Table:
    """`found` has, by draft and decoding, what was accepted of each prompt's answer; the three drafts named above at
    least.
    """

    questions: Sequence[Question]
    found: Mapping[tuple[str, str], Sequence[Accepted]]

    @property
    def sample(self) -> Sample:
        """The tasks that its intervals are over."""
        return Sample(len({question.task for question in self.questions}), "tasks")

    def mean(self, draft: str, decoding: str, value: Callable[[Accepted], float]) -> Mean:
        values = torch.tensor([value(each) for each in self.found[draft, decoding]], dtype=torch.float64)
        return mean_of(values, [question.task for question in self.questions])

    def longer(self, draft: str, other: str, decoding: str) -> Mean:
        """By how many tokens a round `draft` is ahead of `other`, prompt by prompt."""
        pairs = zip(self.found[draft, decoding], self.found[other, decoding], strict=True)
        values = torch.tensor([one.length - two.length for one, two in pairs], dtype=torch.float64)
        return mean_of(values, [question.task for question in self.questions])

    def rows(self) -> list[dict[str, Any]]:
        """A row for each draft and decoding; `share` is of all prompts together, as serving engines count it. Without a
        prompt all figures are null.
        """
        found = []
        for name, decoding in self.found:
            alpha, length = (self.mean(name, decoding, value) for value in (_alpha, _length))
            found.append({
                "draft": name, "decoding": decoding, "alpha": alpha.mean, "alpha_ci95": [alpha.low, alpha.high],
                "length": length.mean, "length_ci95": [length.low, length.high],
                "share": _share(self.found[name, decoding]),
            })  # fmt: skip
        return found

    def by_domain(self) -> list[dict[str, Any]]:
        """Of each domain: prompts, and alpha, length, and share of proposals taken of each draft."""
        found = []
        for domain in sorted({question.domain for question in self.questions}):
            places = [place for place, question in enumerate(self.questions) if question.domain == domain]
            for name, decoding in self.found:
                here = [self.found[name, decoding][place] for place in places]
                found.append({
                    "domain": domain, "prompts": len(here), "draft": name, "decoding": decoding,
                    "alpha": sum(map(_alpha, here)) / len(here), "length": sum(map(_length, here)) / len(here),
                    "share": _share(here),
                })  # fmt: skip
        return found

    def by_prompt(self) -> list[dict[str, Any]]:
        """Tokens a round of each prompt, by draft and decoding: for paired comparisons with another table."""
        return [
            {"task": question.task,
             "length": {f"{name}, {decoding}": of[place].length for (name, decoding), of in self.found.items()}}
            for place, question in enumerate(self.questions)
        ]  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """The stage's: of the distilled draft, sampled unless the name says greedy."""
        told: dict[str, Any] = {
            "draft_alpha": self.mean(DISTILLED, SAMPLED, _alpha).mean,
            "draft_acceptance_length": self.mean(DISTILLED, SAMPLED, _length).mean,
            "draft_alpha_greedy": self.mean(DISTILLED, GREEDY, _alpha).mean,
            "draft_acceptance_length_greedy": self.mean(DISTILLED, GREEDY, _length).mean,
            "prompts": len(self.questions),
            "held_out_tasks": self.sample.count,
            "answer_tokens": sum(each.tokens for each in self.found[DISTILLED, SAMPLED]),
        }  # fmt: skip
        ahead = {decoding: self.longer(DISTILLED, SFT, decoding) for decoding in _TEMPERATURES}
        told["domains"] = [row for row in self.by_domain() if row["draft"] == DISTILLED]
        told["over_sft"] = {name: {"mean": m.mean, "ci95": [m.low, m.high]} for name, m in ahead.items()}
        control = {decoding: self.longer(DISTILLED, UNIGRAM, decoding) for decoding in _TEMPERATURES}
        told["concludes"] = all(m.low > 0 for m in control.values())
        return told | {"verdict": self.verdict()}

    def verdict(self) -> str:
        """One line: whether distillation was worth it, and whether the table can say so."""
        if self.sample.shortage:
            return f"no conclusion: {self.sample.shortage}"
        if any(self.longer(DISTILLED, UNIGRAM, decoding).low <= 0 for decoding in _TEMPERATURES):
            return "no conclusion: word frequencies alone propose as well"
        ahead = {decoding: self.longer(DISTILLED, SFT, decoding) for decoding in _TEMPERATURES}
        if all(m.low > 0 for m in ahead.values()):
            return "distilled, more is taken than after teacher text alone, sampled and greedy"
        if any(m.high < 0 for m in ahead.values()):
            return "teacher text alone is better in some way: distillation is not worth it here"
        return "no difference from teacher text beyond chance in some way"


def measure(
    target: LlamaForCausalLM,
    draft: LlamaForCausalLM,
    arms: Mapping[str, Mapping[str, Tensor]],
    questions: Sequence[Question],
    counts_V: Tensor,
    how: Measuring,
    tokenizer: TrainingTokenizer,
) -> Table:
    """`arms` are the draft's weights by name; it is left with the last ones. `counts_V` is how often the target wrote
    each word of its vocabulary in training.
    """
    found: dict[tuple[str, str], list[Accepted]] = {}
    unigram_V = ((counts_V + 1) / (counts_V + 1).sum()).log().to(target.device)
    prompts = [question.prompt for question in questions]
    for decoding, temperature in _TEMPERATURES.items():
        writing = Writing(how.most_tokens, temperature, how.seed + _EVAL_SEED)
        with within(decoding):
            rows = write_answers(target, prompts, writing, tokenizer)

        def judged(
            logits: Callable[[int, Tensor], Tensor], rows: Sequence[Encoded] = rows, temperature: float = temperature
        ) -> list[Accepted]:
            of: dict[int, Accepted] = {}
            for number, target_TV in response_logits_by_row(target, rows):
                tokens_T = response_tokens([rows[number]]).to(target_TV.device)
                given_TV = logits(number, target_TV)
                of[number] = acceptance(target_TV, given_TV, tokens_T, how.proposals, temperature)
            return [of[number] for number in range(len(rows))]

        report_phase(f"{UNIGRAM}, {decoding}")
        found[UNIGRAM, decoding] = judged(lambda _, target_TV: unigram_V.expand_as(target_TV))
        for name, weights in arms.items():
            report_phase(f"{name}, {decoding}")
            draft.load_state_dict(weights)
            theirs = _in_step(response_logits_by_row(draft, rows))
            found[name, decoding] = judged(theirs)
    return Table(questions, found)


def _in_step(logits: Iterator[tuple[int, Tensor]]) -> Callable[[int, Tensor], Tensor]:
    """The draft goes through the same rows in the same order as the target."""

    def of(number: int, _: Tensor) -> Tensor:
        found, logits_TV = next(logits)
        assert found == number
        return logits_TV

    return of


def _share(found: Sequence[Accepted]) -> float | None:
    """Proposals taken of all that were made; None where none was."""
    proposed = sum(each.proposed for each in found)
    return sum(each.accepted for each in found) / proposed if proposed else None


def _alpha(found: Accepted) -> float:
    return found.alpha


def _length(found: Accepted) -> float:
    return found.length
