"""report.html: one file without scripts or remote parts. Generated text is hostile input: all of it is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cogumi.evaluate.figures import compared_rows, judged_rows, read_tokens, recorded_rows, verdict_text
from cogumi.metrics import formatting
from cogumi.metrics.formatting import Sample, counted, is_known, percent, usd
from cogumi.recipe.changes import shown
from cogumi.report.plots import ARMS, curve, domain_bars, length_histogram, paired_bars
from cogumi.training.figures import held_out_prompts, held_out_tasks

if TYPE_CHECKING:
    from cogumi.report.rows import ReportRows

_FORMATS = ("number", "percent", "usd", "interval", "estimate")
_SAMPLES = (held_out_tasks, held_out_prompts, judged_rows, read_tokens, compared_rows, recorded_rows)
_HIDDEN = re.compile(r"[\u202a-\u202e\u2066-\u2069\u200b-\u200f\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def render(
    report: dict[str, Any],
    rows: ReportRows,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    answers: Sequence[dict[str, Any]] = (),
) -> str:
    """The page as text; `curves` are training losses by step, of the base model and of the adapter's arms, `answers`
    the samples of a validation.
    """
    stage = report["stages"]["generate_dataset"]
    base = report["stages"].get("pretrain_base")
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - 0.1 s; `verdict` does without

    environment = Environment(
        loader=PackageLoader("cogumi.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = visible
    environment.filters |= {name: getattr(formatting, name) for name in _FORMATS}
    environment.filters["value"] = shown
    environment.globals |= {sample.__name__: sample for sample in _SAMPLES} | {"verdict_text": verdict_text}
    page = environment.get_template("report.html.j2").render(
        report=report,
        stage=stage,
        funnel=funnel(stage),
        samples=rows,
        bars=domain_bars(stage["cells"]),
        histogram=length_histogram(rows.lengths),
        verdict=verdict(stage),
        base=base,
        losses=curve(curves["base"], "Training loss by step", ("without context", base["nll_unigram"])) if base else "",
        adapter=report["stages"].get("train_models"),
        draft=report["stages"].get("train_draft"),
        validation=report["stages"].get("validate_model"),
        validation_bars=_bits_by_domain(report["stages"].get("validate_model")),
        validation_samples=answers,
        arms=[(title, curve(curves[arm], title)) for arm, title in ARMS.items() if curves.get(arm)],
    )
    return str(page)


def _bits_by_domain(validation: dict[str, Any] | None) -> str:
    """Of the two models that the verdict is of."""
    if not validation or not validation["verdict_of"]:
        return ""
    pair = list(reversed(validation["verdict_of"]))
    parts = [validation["by_domain"][name] for name in pair]
    rows = [
        (visible(domain), [(found["bits_per_byte"], read_tokens(found)) for found in (part[domain] for part in parts)])
        for domain in parts[0]
    ]
    return paired_bars("Bits a byte by domain, less is better", rows, [visible(name) for name in pair])


def verdict(stage: dict[str, Any]) -> str:
    """One line: what came out, and whether it can be believed."""
    if stage["status"] != "completed":
        return f"Not complete: {stage['calls']:,} calls so far. Run the same command to go on."
    hidden = Sample(stage["judge_hidden"], "hidden questions", least=1)
    right = percent(stage["judge_accuracy"], of=hidden)
    accuracy = f", judge accuracy {right} on {counted(hidden.count, 'hidden question')}" if hidden.count else ""
    money = f"{usd(stage['cost_usd'], '.4f')} (+ {usd(stage['at_risk_usd'], '.4f')} at risk)"
    besides = stage.get("besides_usd", 0)
    if not (is_known(besides) and round(besides, 4) == 0):
        money += f", {usd(besides, '.4f')} for replies it holds nothing of"
    given = stage.get("balance")
    counts = f"of {stage['asked']:,} given" if given else "every cell exactly as asked"
    return f"{counted(stage['rows'], 'row')}, {counts}{accuracy}, {money}"


def funnel(stage: dict[str, Any]) -> list[tuple[str, int, dict[str, int]]]:
    """(step, rows left, reasons for the rows lost before it)."""
    if stage["status"] != "completed":
        return []
    lost = stage["rejected"]

    def reasons(prefix: str) -> dict[str, int]:
        return {reason.split("/", 1)[1]: count for reason, count in lost.items() if reason.startswith(prefix)}

    surplus = sum(stage.get("balance", {}).get("surplus", {}).values())
    spare, near = stage["accepted"] - stage["rows"], stage.get("near_duplicates", 0)
    gone = near + sum(reasons("answer/").values())
    return [
        ("asked", stage["asked"], {}),
        (
            "parsed and new",
            stage["judged"],
            {
                **reasons("parse/"),
                **reasons("quarantine/"),
                "duplicate": stage["duplicates"],
                "surplus of its cell or domain": surplus,
            },
        ),
        (
            "passed the judge",
            stage["accepted"],
            {**reasons("judge/"), **{f"harm: {why}": n for why, n in reasons("harm/").items()}},
        ),
        (
            "answered and chosen",
            stage["rows"],
            {**reasons("answer/"), "near-duplicate": near, "spare or replaced": max(0, spare - gone)},
        ),
    ]


def visible(text: str) -> str:
    """Text without characters that reorder or hide what stands around them."""
    return _HIDDEN.sub("\ufffd", text)
