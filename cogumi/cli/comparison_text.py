"""A comparison of prompts as text: its price before, its result after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogumi.cli.estimate_table import aligned, folded
from cogumi.metrics.formatting import Sample, counted, interval, number, percent, usd

if TYPE_CHECKING:
    from cogumi.dataset.compare_prompts import Comparison, ComparisonPrice


def price_text(
    comparison: Comparison, price: ComparisonPrice, run: str, left_out: Mapping[str, int], width: int
) -> str:
    """What is left to buy, and for how much; `left_out` counts questions by the reason why they are not compared on."""
    low, high = price.to_json()["cost_usd_range"]
    sentences = [
        f"{run}: {comparison.a.name} (a) against {comparison.b.name} (b), "
        f"{counted(len(comparison.questions), 'question')} of {comparison.stage}",
        f"to buy: {counted(price.answers, 'answer')} by {comparison.teacher.model} (${price.answers_usd:,.2f}), "
        f"{'at most ' if price.answers else ''}{counted(price.judgements, 'judgement')} by {comparison.judge.model} "
        f"(${price.judgements_usd:,.2f}), all as single calls; {price.reused:,} replies reused",
        f"at most about ${price.cost_usd:,.2f} (${low:,.2f} to ${high:,.2f}: tokens are estimated, and only pairs of "
        "usable answers that differ are judged)",
    ]
    if left_out:
        sentences.insert(1, f"questions left out: {_counts(left_out)}")
    if comparison.recipe.rehearsal:
        sentences.append("a rehearsal: the embedded provider answers and judges; its cost is simulated")
    if comparison.recipe.budget.max_usd is not None:
        sentences.append(f"hard stop at ${comparison.recipe.budget.max_usd:,.2f} in this folder (budget.max_usd)")
    return "\n".join(line for sentence in sentences for line in folded(sentence, width))


def result_text(figures: dict[str, Any], place: Path, width: int) -> str:
    """Verdict, outcomes, position bias, and what an answer of each prompt takes."""
    pairs = _pairs(figures)
    shares = [
        [
            label,
            f"{figures[name]['count']:,}",
            percent(figures[name]["share"], of=pairs),
            interval(figures[name]["ci95"], ".1%", pairs),
        ]
        for name, label in (("a", "a better"), ("equal", "equal"), ("b", "b better"))
    ]
    lines = [
        *folded(_verdict(figures), width),
        *aligned(["outcome", "pairs", "share", "95% interval"], shares, texts=1),
        *folded(_position(figures["position"]), width),
        *aligned(
            ["prompt", "answers", "unusable", "right", "in", "out", "USD each"],
            [_prompt_row(side, figures["prompts"][side]) for side in ("a", "b")],
            texts=1,
        ),
    ]
    if figures["left_out"]:
        lines += folded(f"pairs left out: {_counts(figures['left_out'])}; the same command asks again", width)
    lines += folded("right: of those a verifier knows; in, out: tokens; USD: of one answer, as single calls", width)
    lines.append(f"spent in this folder: {usd(figures['cost_usd'])} (+ {usd(figures['at_risk_usd'])} at risk)")
    lines.append(f"files: {place}")
    return "\n".join(lines)


def _verdict(figures: dict[str, Any]) -> str:
    names = " against ".join(f"{figures['prompts'][side]['prompt']} ({side})" for side in ("a", "b"))
    gain = figures["difference"]
    seen, pairs = percent(figures["power_of_10_points"]), _pairs(figures)
    unsure = f"; a true difference of 10 points would be seen {seen} of the time"
    ends = interval((gain["low"], gain["high"]), "+.1%", pairs)
    return (
        f"{figures['verdict']}: {names}, judged by {figures['judge']}; wins of b minus wins of a: "
        f"{percent(gain['mean'], '+.1%', pairs)} of the pairs ({ends}), {figures['test']}, "
        f"p = {number(figures['p'], '.3g', pairs)}{unsure if figures['verdict'] == 'inconclusive' else ''}"
    )


def _position(position: dict[str, Any]) -> str:
    if position["first_share"] is None:
        return f"position: none of {counted(position['judgements'], 'judgement')} preferred an answer"
    ends = interval(position["ci95"], ".1%")
    return (
        f"position: the answer that stood first was preferred in {position['first']:,} of "
        f"{position['first'] + position['second']:,} judgements ({ends}, "
        f"p = {number(position['p'], '.3g')}); "
        f"{counted(position['inconsistent'], 'pair')} had opposite winners in the two orders and counted as equal"
    )


def _prompt_row(side: str, prompt: dict[str, Any]) -> list[str]:
    verified = prompt["verified"]
    passed, known = verified.get("passed", 0), verified.get("passed", 0) + verified.get("failed", 0)
    if not prompt["answers"]:
        return [side, "0", "-", "-", "-", "-", "-"]
    return [
        side,
        f"{prompt['answers']:,}",
        f"{sum(prompt['unusable'].values()):,}",
        f"{passed}/{known}" if known else "-",
        number(prompt["prompt_tokens"], ",.0f"),
        number(prompt["completion_tokens"], ",.0f"),
        number(prompt["usd_per_answer"], ".6f"),
    ]


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


def _pairs(figures: dict[str, Any]) -> Sample:
    return Sample(sum(figures[name]["count"] for name in ("a", "equal", "b")), "pairs", least=1)
