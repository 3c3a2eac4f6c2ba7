"""What the dashboard shows of a validation: models in one table, comparisons in another, and the page with the rest."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_table_artifact

from cogumi.evaluate.figures import compared_rows, judged_rows, read_tokens, verdict_text
from cogumi.metrics.formatting import interval, number, percent
from cogumi.store.run_folder import RunFolder
from tasks.dashboard import artifact_key
from tasks.training_board import show_figures

_SHOWN = (
    "verdict", "verdict_of", "likelihood_verdict", "contaminated", "relative_to_gpt4", "rows", "sources",
    "suite_sha256", "seconds", "dataset", "artifact",
)  # fmt: skip


def show_validation(folder: RunFolder, figures: dict[str, Any]) -> None:
    """Three tables for the run's page. A simulated run says so."""
    where = show_figures(folder, "validation", "Validation", _SHOWN, figures)
    create_table_artifact(
        model_rows(figures), key=artifact_key(folder.name, "validation-models"),
        description=f"Every model on the same {figures['rows']:,} rows, on {where}",
    )  # fmt: skip
    if figures["comparisons"]:
        create_table_artifact(
            comparison_rows(figures), key=artifact_key(folder.name, "validation-comparisons"),
            description="Pairs of models on the same rows: accuracy by bootstrap or McNemar, bits a byte by bootstrap",
        )  # fmt: skip


def model_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a model."""
    return [
        {
            "model": name, "accuracy": percent(found["accuracy"], of=right),
            "95%": interval(found["ci95"], ".1%", right), "judged": found["n"], "nll": number(found["nll"], of=read),
            "perplexity": number(found["ppl"], of=read), "bits a byte": number(found["bits_per_byte"], of=read),
            **{what: found["outcomes"].get(what, 0) for what in ("truncated", "refused", "unparsed", "unjudged")},
        }
        for name, found, right, read in (
            (name, found, judged_rows(found), read_tokens(found))
            for name, found in ((name, figures["models"][name]) for name in figures["names"])
        )
    ]  # fmt: skip


def comparison_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a pair."""
    found = []
    for pair in figures["comparisons"]:
        accuracy, bits = pair["accuracy"] or {}, pair["bits_per_byte"] or {}
        judged, read = compared_rows(pair["accuracy"]), compared_rows(pair["bits_per_byte"])
        found.append({
            "models": f"{pair['one']} over {pair['other']}",
            "verdict": verdict_text(pair["verdict"], pair.get("shortage", "")),
            "accuracy": percent(accuracy.get("mean"), "+.1%", judged),
            "95%": interval((accuracy.get("low"), accuracy.get("high")), "+.1%", judged),
            "p": number(accuracy.get("p"), of=judged),
            "power of 5 points": percent(accuracy.get("power_of_5_points"), of=judged),
            "bits a byte": number(bits.get("mean"), "+.4g", read), "by likelihood": pair["likelihood_verdict"],
        })  # fmt: skip
    return found
