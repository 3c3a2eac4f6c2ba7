"""The dataset card: README.md with the front matter that the `datasets` library reads."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Any

from cogumi.domain import DOMAINS
from cogumi.metrics.formatting import Sample, percent, usd


def dataset_card(files: dict[str, str], splits: dict[str, str], cells: dict[str, int], facts: dict[str, Any]) -> str:
    """Markdown with YAML front matter.

    Args:
        files: what each file holds, by name.
        splits: the Parquet file of each part, which `load_dataset` reads.
        cells: rows by "domain/difficulty".
        facts: figures of the run: verification, purpose, rehearsal, judge_accuracy, judge_hidden, cost_usd,
            at_risk_usd, terms.
    """
    checks = facts["verification"]
    rows = "\n".join(
        f"| {DOMAINS[domain]} | {cells.get(f'{domain}/easy', 0):,} | {cells.get(f'{domain}/hard', 0):,} |"
        for domain in sorted({cell.split("/")[0] for cell, count in cells.items() if count})
    )
    listing = "\n".join(f"- `{name}`: {what}" for name, what in files.items())
    terms = "\n".join(
        f"- {provider}: training on outputs allowed: {allowed}" for provider, allowed in sorted(facts["terms"].items())
    )
    warning = (
        "\n> This is a rehearsal: the embedded loopback provider wrote, judged and answered these rows."
        "\n> Costs are play money.\n"
        if facts["rehearsal"]
        else ""
    )
    return Template(_template()).substitute(
        size=_size_category(sum(cells.values())),
        splits="\n".join(f"  - split: {part}\n    path: {file}" for part, file in splits.items()),
        near_duplicates=f"{facts['near_duplicates']:,}",
        harm_filtered=f"{facts['harm_filtered']:,}",
        tokens=f"{facts['tokens']:,}",
        name=facts["name"],
        purpose=facts["purpose"],
        warning=warning,
        rows=f"{sum(cells.values()):,}",
        table=rows,
        pass_mean=facts["pass_mean"],
        judged=percent(facts["judge_accuracy"], of=Sample(facts["judge_hidden"], "hidden questions", least=1)),
        passed=f"{checks.get('passed', 0):,}",
        unverified=f"{checks.get('unverified', 0):,}",
        no_verifier=f"{checks.get('no-verifier', 0):,}",
        cost=usd(facts["cost_usd"], ".4f"),
        at_risk=usd(facts["at_risk_usd"], ".4f"),
        terms=terms,
        files=listing,
    )


def _template() -> str:
    return resources.files("cogumi.dataset").joinpath("prompts", "card.md").read_text("utf-8")


def _size_category(rows: int) -> str:
    for limit, name in (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    ):
        if rows < limit:
            return name
    return "1M<n<10M"
