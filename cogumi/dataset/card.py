"""The dataset card: README.md with the front matter that the `datasets` library reads."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from string import Template
from typing import Any

from cogumi.domain import DOMAINS, Example


def dataset_card(files: dict[str, str], splits: dict[str, str], examples: list[Example], facts: dict[str, Any]) -> str:
    """Markdown with YAML front matter.

    Args:
        files: what each file holds, by name.
        splits: the Parquet file of each part, which `load_dataset` reads.
        facts: figures of the run: purpose, rehearsal, judge_accuracy, cost_usd, at_risk_usd, terms.
    """
    cells = Counter((e.question.cell.domain, str(e.question.cell.difficulty)) for e in examples)
    checks = Counter(e.verification for e in examples)
    rows = "\n".join(
        f"| {DOMAINS[domain]} | {cells[domain, 'easy']:,} | {cells[domain, 'hard']:,} |"
        for domain in dict.fromkeys(d for d, _ in sorted(cells))
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
    accuracy = facts["judge_accuracy"]
    judged = "not measured" if accuracy is None else f"{accuracy:.1%}"
    return Template(_template()).substitute(
        size=_size_category(len(examples)),
        splits="\n".join(f"  - split: {part}\n    path: {file}" for part, file in splits.items()),
        near_duplicates=f"{facts['near_duplicates']:,}",
        harm_filtered=f"{facts['harm_filtered']:,}",
        tokens=f"{facts['tokens']:,}",
        name=facts["name"],
        purpose=facts["purpose"],
        warning=warning,
        rows=f"{len(examples):,}",
        table=rows,
        pass_mean=facts["pass_mean"],
        judged=judged,
        passed=f"{checks['passed']:,}",
        unverified=f"{checks['unverified']:,}",
        no_verifier=f"{checks['no-verifier']:,}",
        cost=f"{facts['cost_usd']:.4f}",
        at_risk=f"{facts['at_risk_usd']:.4f}",
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
