"""The estimate of a dataset run as text: a table that fits the terminal, and the money in sentences.

No cell is broken: where the whole table is wider than the terminal, delivery and model get a line of their own below
each stage, and tokens are in thousands or millions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from cogumi.dataset.estimate import calls_text
from cogumi.metrics.formatting import number, usd

_GAP = "  "


def estimate_text(expected: dict[str, Any], run: str, width: int) -> str:
    """What `dataset.estimate.estimate` returned, within `width` columns; 60 are enough for any recipe's figures."""
    table = _wide(expected["stages"])
    if max(map(len, table)) > width:
        table = _narrow(expected["stages"])
    lines = [line for sentence in _money(expected) for line in folded(sentence, width)]
    return "\n".join([f"Estimate for {run}", *table, *lines])


def _wide(stages: list[dict[str, Any]]) -> list[str]:
    head = ["stage", "model", "delivery", "calls", "tokens in", "tokens out", "USD", "plain USD", "minutes"]
    rows = [
        [
            stage["stage"], stage["model"], stage["delivery"], f"{stage['calls']:,}", f"{stage['prompt_tokens']:,}",
            f"{stage['completion_tokens']:,}", *_dollars(stage), f"{stage['minutes']:,.1f}",
        ]
        for stage in stages
    ]  # fmt: skip
    return aligned(head, rows, texts=3)


def _narrow(stages: list[dict[str, Any]]) -> list[str]:
    head = ["stage", "calls", "in", "out", "USD", "plain", "minutes"]
    rows = [
        [
            stage["stage"], f"{stage['calls']:,}", _tokens(stage["prompt_tokens"]), _tokens(stage["completion_tokens"]),
            *_dollars(stage), f"{stage['minutes']:,.1f}",
        ]
        for stage in stages
    ]  # fmt: skip
    lines = aligned(head, rows, texts=1)
    below = [f"{_GAP}{stage['delivery']}: {stage['model']}" for stage in stages]
    return [lines[0], *(line for pair in zip(lines[1:], below, strict=True) for line in pair), "in, out: tokens"]


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    """Lines of equal columns: the first `texts` of them to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    return [
        _GAP.join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def _dollars(stage: dict[str, Any]) -> tuple[str, str]:
    return number(stage["cost_usd"], ",.2f"), number(stage["plain_usd"], ",.2f")


def _tokens(count: int) -> str:
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:,.0f}k" if count < 1e6 else f"{count / 1e6:,.1f}M"


def _money(expected: dict[str, Any]) -> list[str]:
    low, high = expected["cost_usd_range"]
    sentences = [
        f"{calls_text(expected)}, about ${expected['cost_usd']:,.2f} (${low:,.2f} to ${high:,.2f}), "
        f"{expected['minutes']:,.1f} minutes"
    ]
    if expected.get("calls_range") and expected["calls_range"][0] != expected["calls_range"][1]:
        sentences.append(f"the range is of {expected['draws']} simulations of replies that the ledger does not hold")
    guide, saving = expected["guide"], expected["saving_usd"]
    if guide is not None:
        cached = "not cached" if guide["cache"] == "off" else f"cached for {guide['cache']}"
        sentences.append(
            f"the guide before hard questions is {usd(guide['cost_usd'], ',.2f')} of it: {guide['tokens']:,} tokens "
            f"per call, {cached}, {'by batch' if guide['delivery'] == 'batch' else 'in single calls'}"
        )
    if round(saving, 2):
        sentences.append(
            f"{_savers(expected)} ${saving:,.2f} of the ${expected['plain_usd']:,.2f} that single calls of the "
            "same prompts cost"
            if saving > 0
            else f"caching costs ${-saving:,.2f} more than single calls of the same prompts: few calls read the cache"
        )
    if expected["max_usd"] is not None:
        sentences.append(f"hard stop at ${expected['max_usd']:,.2f} (budget.max_usd)")
    return sentences


def _savers(expected: dict[str, Any]) -> str:
    """What saves, with its verb."""
    batched = any(stage["delivery"] == "batch" for stage in expected["stages"])
    cached = expected["guide"] is not None and expected["guide"]["cache"] != "off"
    return "batches and caching save" if batched == cached else "batches save" if batched else "caching saves"


def folded(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(sentence, width, subsequent_indent=_GAP, break_long_words=False, break_on_hyphens=False)
