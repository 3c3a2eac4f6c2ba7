"""Review: rows out to people and their decisions back in. CSV for a spreadsheet, Label Studio tasks, Argilla records.

    export_review(open_published(folder), "csv", Path("review.csv"), rows=200)
    decisions = read_decisions("csv", Path("review.csv"))

A decision is accept, edit or reject. Rows nobody decided on stay as they are. Text from models is hostile to a
spreadsheet too: cells that would be formulas are quoted on the way out and unquoted on the way in.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from cogumi.dataset.published import Published
from cogumi.errors import InputError
from cogumi.store.files import read_json, write_atomic, write_json, write_jsonl

Verdict = Literal["accept", "edit", "reject"]
ReviewFormat = Literal["csv", "label-studio", "argilla"]
_VERDICTS = get_args(Verdict)
_COLUMNS = (
    "question_id",
    "domain",
    "difficulty",
    "judge_mean",
    "verification",
    "question",
    "answer",
    "draft",
    "critique",
)
_TO_FILL = ("decision", "edited_question", "edited_answer", "note")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
LABELLING = """<View>
  <Header value="$question_id · $domain · $difficulty"/>
  <Text name="question" value="$question"/>
  <Text name="answer" value="$answer"/>
  <Choices name="decision" toName="answer" choice="single" required="true">
    <Choice value="accept"/><Choice value="edit"/><Choice value="reject"/>
  </Choices>
  <TextArea name="edited_question" toName="question" maxSubmissions="1" editable="true" value="$question"/>
  <TextArea name="edited_answer" toName="answer" maxSubmissions="1" editable="true" value="$answer"/>
  <TextArea name="note" toName="answer" maxSubmissions="1"/>
</View>
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided about a row. Empty `question` or `answer`: that part stays."""

    question_id: str
    verdict: Verdict
    question: str = ""
    answer: str = ""
    note: str = ""


def export_review(data: Published, form: ReviewFormat, path: Path, rows: int | None = None) -> int:
    """Write rows for review; returns how many. `rows`: so many of them, drawn by their ids, the same each time."""
    chosen = sorted(data.rows(), key=lambda row: hashlib.sha256(row["question_id"].encode()).hexdigest())[:rows]
    flat = [_flat(row) for row in chosen]
    if form == "csv":
        write_atomic(path, _csv(flat))
    elif form == "label-studio":
        write_json(path, [{"data": row} for row in flat])
        write_atomic(path.with_suffix(".xml"), LABELLING.encode())
    else:
        write_jsonl(path, map(_argilla, flat))
    return len(flat)


def read_decisions(form: ReviewFormat, path: Path) -> list[Decision]:
    """The decisions in a reviewed file, one a row; of several on one row the last.

    Raises InputError review-unreadable, naming the row, for a verdict that is none or an edit without a change.
    """
    try:
        found = [_checked(number, raw) for number, raw in enumerate(_READERS[form](path), 1)]
    except (
        OSError,
        UnicodeDecodeError,
        csv.Error,
        orjson.JSONDecodeError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise InputError("review-unreadable", f"{path}: {error!r}") from None
    return list({decision.question_id: decision for decision in found if decision is not None}.values())


def _flat(row: dict[str, Any]) -> dict[str, str]:
    reasoning, told = row["reasoning"] or {}, row["metadata"]
    values = {**row, "judge_mean": told["judge_mean"], "verification": told["verification"],
              "draft": reasoning.get("draft", ""), "critique": reasoning.get("critique", "")}  # fmt: skip
    return {name: str(values[name] if values[name] is not None else "") for name in _COLUMNS}


def _csv(rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, [*_COLUMNS, *_TO_FILL], restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _quoted(text) for name, text in row.items()})
    return out.getvalue().encode("utf-8-sig")


def _argilla(row: dict[str, str]) -> dict[str, Any]:
    """A record as `rg.Record.from_dict` reads it."""
    told = {name: row[name] for name in ("domain", "difficulty", "judge_mean", "verification")}
    fields = {name: row[name] for name in ("question", "answer", "draft", "critique") if row[name]}
    return {"id": row["question_id"], "fields": fields, "metadata": told, "suggestions": {}, "responses": {}}


def _checked(number: int, raw: dict[str, str]) -> Decision | None:
    verdict = raw.get("decision", "").strip().lower()
    if not verdict:
        return None
    if verdict not in _VERDICTS or not raw.get("question_id"):
        raise InputError("review-unreadable", f"row {number}: decision {verdict!r} on {raw.get('question_id')!r}")
    question, answer = raw.get("edited_question", "").strip(), raw.get("edited_answer", "").strip()
    if verdict == "edit" and not (question or answer):
        raise InputError("review-unreadable", f"row {number}: an edit of {raw['question_id']} that changes nothing")
    if verdict != "edit":
        question = answer = ""
    return Decision(raw["question_id"], verdict, question, answer, raw.get("note", "").strip())  # type: ignore[arg-type]


def _from_csv(path: Path) -> Iterable[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, strict=True)
        if missing := {"question_id", "decision"} - set(rows.fieldnames or ()):
            raise KeyError(f"no column {', '.join(sorted(missing))}")
        return [{name: _unquoted(text or "") for name, text in row.items() if name is not None} for row in rows]


def _from_label_studio(path: Path) -> Iterable[dict[str, str]]:
    """Label Studio's JSON export: the last annotation of each task that was not skipped."""
    rows = []
    for task in read_json(path):
        kept = [annotation for annotation in task.get("annotations", ()) if not annotation.get("was_cancelled")]
        told = {"question_id": task["data"]["question_id"]}
        for result in kept[-1]["result"] if kept else ():
            value = result["value"]
            told[result["from_name"]] = "\n".join(value.get("choices") or value.get("text") or ())
        rows.append(told)
    return rows


def _from_argilla(path: Path) -> Iterable[dict[str, str]]:
    """Records as Argilla's `to_json` writes them: submitted responses by question name."""
    rows = []
    for line in path.read_bytes().splitlines():
        record = orjson.loads(line)
        told = {"question_id": str(record["id"])}
        for name, responses in record["responses"].items():
            sent = [r["value"] for r in responses if r.get("status", "submitted") == "submitted"]
            if sent:
                told[name] = str(sent[-1])
        rows.append(told)
    return rows


_READERS: dict[ReviewFormat, Callable[[Path], Iterable[dict[str, str]]]] = {
    "csv": _from_csv,
    "label-studio": _from_label_studio,
    "argilla": _from_argilla,
}


def _quoted(text: str) -> str:
    return f"'{text}" if text.startswith((*_FORMULA, "'")) else text


def _unquoted(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith((*_FORMULA, "'")) else text
