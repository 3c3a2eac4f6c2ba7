"""Converters and fingerprints: on all the real files at hand, and on files that are not what they are called."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cogumi.errors import InputError
from cogumi.evaluate.benchmarks import BENCHMARKS, gpqa
from cogumi.evaluate.fingerprints import check, check_together, known, recognise, sketch
from cogumi.evaluate.row import UNKNOWN, BenchmarkRow
from cogumi.evaluate.sample import stratified
from cogumi.metrics.answers import same_number
from cogumi.metrics.drop import drop_score
from tests.skipped import reason

DATA = Path(os.environ.get("COGUMI_DATA", "nowhere"))
FILES = {"drop": "drop_v0_dev.jsonl.gz", "gsm8k": "gsm8k_test.jsonl", "humaneval": "HumanEval.jsonl.gz",
         "math": "math_test_5000.jsonl", "mgsm": "mgsm", "mmlu": "mmlu_test"}  # fmt: skip
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=reason("COGUMI_DATA"))


def rows_of(name: str, place: Path | None = None) -> list[BenchmarkRow]:
    return list(BENCHMARKS[name].read(place or DATA / FILES[name]))


def lines(place: Path, rows: list[dict[str, Any]]) -> Path:
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@needs_data
@pytest.mark.parametrize(
    ("name", "rows", "distinct"),
    [("drop", 9536, 8688), ("gsm8k", 1319, 1319), ("humaneval", 164, 164), ("math", 5000, 5000), ("mgsm", 1500, 1500),
     ("mmlu", 9183, 9109)],
)  # fmt: skip
def test_every_row_of_the_real_files_is_read_and_known_again(name: str, rows: int, distinct: int) -> None:
    found = rows_of(name)
    assert len(found) == rows and all(row.prompt.strip() and row.responses[0].strip() for row in found)
    checked = check(name, found)
    assert len(checked.rows) == distinct and checked.repeated == rows - distinct
    assert recognise(found)[0].name == name and recognise(found)[0].hits == recognise(found)[0].of


@needs_data
def test_gold_answers_are_right_by_their_own_scoring() -> None:
    for row in check("drop", rows_of("drop")).rows:
        assert all(drop_score(answer, row.more["answers"]) == (1.0, 1.0) for answer in row.more["answers"]), row.prompt
    english = [row for row in rows_of("mgsm") if row.subject == "en"]
    first = {row.prompt: row.responses[0] for row in rows_of("gsm8k")}
    same = [same_number(row.responses[0], first[row.prompt]) for row in english if row.prompt in first]
    assert len(same) > 200 and all(same), "the first 250 of GSM8K"
    assert Counter(row.responses[0] for row in rows_of("mmlu")).keys() == set("ABCD")


@needs_data
def test_levels_and_subjects_are_those_of_the_file() -> None:
    maths = rows_of("math")
    levels = Counter(json.loads(line)["level"] for line in (DATA / FILES["math"]).read_text().split("\n") if line)
    assert Counter(row.difficulty for row in maths) == {
        "easy": levels["Level 1"] + levels["Level 2"], "medium": levels["Level 3"],
        "hard": levels["Level 4"] + levels["Level 5"],
    }  # fmt: skip
    assert len({row.subject for row in maths}) == 7 and len({row.subject for row in rows_of("mmlu")}) == 57
    assert {row.difficulty for row in rows_of("mmlu")} == {UNKNOWN}


@needs_data
def test_solutions_keep_their_first_indent_and_compile() -> None:
    for row in rows_of("humaneval"):
        assert row.responses[0][0].isspace(), row.more["task_id"]
        compile(row.prompt + row.responses[0] + "\n" + row.more["test"], "x", "exec")


@needs_data
def test_gsm8k_under_the_name_of_math_is_told_by_its_questions(tmp_path: Path) -> None:
    """What the original's download did: levels and types stood there, and were made up."""
    gsm = [json.loads(line) for line in (DATA / FILES["gsm8k"]).read_text().split("\n") if line]
    fake = [
        {"problem": row["question"], "level": "Level 3", "type": "Algebra", "solution": r"\boxed{1}"} for row in gsm
    ]
    with pytest.raises(InputError, match=r"benchmark-is-another.*this MATH file is GSM8K test \(64 of 64"):
        check("math", rows_of("math", lines(tmp_path / "m.jsonl", fake)))
    few = Random(0).sample(fake, 150)
    with pytest.raises(InputError, match="this MATH file is GSM8K test"):
        check("math", rows_of("math", lines(tmp_path / "few.jsonl", few)))
    as_gpqa = tmp_path / "g.csv"
    with as_gpqa.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", "Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3))])
        writer.writerows([row["question"], "1", "2", "3", "4"] for row in gsm)
    with pytest.raises(InputError, match="this GPQA file is GSM8K test"):
        check("gpqa", rows_of("gpqa", as_gpqa))


@needs_data
def test_a_shuffled_part_is_still_itself() -> None:
    part = Random(1).sample(rows_of("math"), 500)
    checked = check("math", part)
    assert checked.part == "test" and not check("math", part[:499]).complete


@needs_data
def test_stripped_solutions_are_refused() -> None:
    """79 of 100 of the original's rows were broken so."""
    stripped = [
        BenchmarkRow(row.prompt, (row.responses[0].strip(),), row.source, row.domain, row.scoring, row.difficulty,
                     row.subject, row.more) for row in rows_of("humaneval")
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"benchmark-code-broken.*HumanEval/0.*stripped"):
        check("humaneval", stripped)


def synthetic_gpqa(place: Path, count: int = 6) -> Path:
    """With GPQA's columns and none of its rows."""
    with place.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Record ID", "Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2",
                         "Incorrect Answer 3", "Subdomain", "Writer's Difficulty Estimate", "Canary String"])  # fmt: skip
        for n in range(count):
            writer.writerow([f"rec{n}", f"Which mass has particle {n}?\nGive it in GeV, \"rounded\".", f"right {n}", "w1",
                             "w2", "w3", "Particle Physics", "Hard graduate level", "CANARY 1234"])  # fmt: skip
    return place


def test_gpqas_options_are_shuffled_by_the_question_alone_and_keep_their_canary(tmp_path: Path) -> None:
    found = rows_of("gpqa", synthetic_gpqa(tmp_path / "gpqa.csv"))
    for n, row in enumerate(found):
        letter, choices = row.responses[0], row.more["choices"]
        assert choices["ABCD".index(letter)] == f"right {n}" and sorted(choices) == sorted(
            [f"right {n}", "w1", "w2", "w3"]
        )
        assert f"{letter}. right {n}" in row.prompt and row.more["canary"] == "CANARY 1234"
        assert row.subject == "Particle Physics" and row.difficulty == "Hard graduate level"
    assert len({row.responses[0] for row in rows_of("gpqa", synthetic_gpqa(tmp_path / "b.csv", 40))}) == 4
    again = {row.key: row for row in gpqa.read(synthetic_gpqa(tmp_path / "c.csv", 3))}
    assert all(again[row.key] == row for row in found[:3]), "in a shorter file the same"
    other = gpqa.read(tmp_path / "b.csv", seed=7)
    assert [row.responses for row in other] != [row.responses for row in rows_of("gpqa", tmp_path / "b.csv")]


def test_mmlu_in_both_of_its_forms(tmp_path: Path) -> None:
    plain, quoted = tmp_path / "plain_test.csv", tmp_path / "quoted_test.csv"
    plain.write_text('"What is ""x"", then?\nSay.",1,2,3,4,C\nWhich?,a,b,c,d,A\n')
    quoted.write_text(
        'question,A,B,C,D,answer\n"What is "x", then?\nSay.","1","2","3","4",2\n"Which?","a","b","c","d",0\n'
    )
    one, other = (rows_of("mmlu", file) for file in (plain, quoted))
    assert [(r.prompt, r.responses) for r in one] == [(r.prompt, r.responses) for r in other]
    assert one[0].responses == ("C",) and one[0].subject == "plain" and '"x"' in one[0].prompt
    (tmp_path / "bad_test.csv").write_text("Which?,a,b,c,d,E\n")
    with pytest.raises(InputError, match="benchmark-columns"):
        rows_of("mmlu", tmp_path / "bad_test.csv")
    quoted.write_text('question,A,B,C,D,answer\n"Which?","a","b","c",0\n')
    with pytest.raises(InputError, match="benchmark-columns"):
        rows_of("mmlu", quoted)


def test_drops_own_form_has_numbers_dates_and_spans(tmp_path: Path) -> None:
    def answer(number: str = "", spans: tuple[str, ...] = (), **date: str) -> dict[str, Any]:
        return {"number": number, "spans": list(spans), "date": {"day": "", "month": "", "year": "", **date}}

    pairs = [
        {"question": "How many?", "answer": answer("3"), "validated_answers": [answer("3"), answer("three")]},
        {"question": "When?", "answer": answer(month="June", year="1940")},
        {"question": "Who?", "answer": answer(spans=("Ann", "Bo")), "validated_answers": [answer(spans=("Ann",))]},
    ]
    file = tmp_path / "drop_dataset_dev.json"
    file.write_text(json.dumps({"p1": {"passage": "Ann and Bo met.", "qa_pairs": pairs}}))
    many, when, who = rows_of("drop", file)
    assert many.more["answers"] == [["3"], ["three"]] and many.subject == "number"
    assert when.responses == ("June 1940",) and when.subject == "date"
    assert who.more["answers"] == [["Ann", "Bo"], ["Ann"]] and who.subject == "spans"
    assert len({row.more["cluster"] for row in (many, when, who)}) == 1
    file.write_text(json.dumps({"p1": {"passage": "x", "qa_pairs": [{"question": "?"}]}}))
    with pytest.raises(InputError, match="benchmark-unreadable"):
        rows_of("drop", file)


def test_what_is_lost_on_the_way_is_refused(tmp_path: Path) -> None:
    problem = {"problem": "1 + 1", "level": "Level 1", "type": "Algebra", "solution": r"\boxed{2}"}
    for broken, told in (
        ([], "no row"), ([problem, {**problem, "problem": " "}], "1 of 2 rows have no question"),
        ([{**problem, "solution": "two"}], "1 of 1 rows have no answer"),
        ([{**problem, "level": ""}], "difficulty is empty throughout"),
        ([{**problem, "type": ""}], "subject is empty throughout"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"benchmark-empty.*{told}"):
            check("math", rows_of("math", lines(tmp_path / "m.jsonl", broken)))
    mixed = rows_of("math", lines(tmp_path / "m.jsonl", [problem, {**problem, "problem": "2", "level": "Level ?"}]))
    assert [row.difficulty for row in check("math", mixed).rows] == ["easy", UNKNOWN]
    for content, code in ((b"\xff\xfe", "benchmark-unreadable"), (b"{", "benchmark-unreadable"), (b"[1]", "benchmark-unreadable"),
                          (b'{"a": 1}', "benchmark-columns")):  # fmt: skip
        (tmp_path / "x.jsonl").write_bytes(content)
        with pytest.raises(InputError, match=code):
            rows_of("gsm8k", tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-4])
    with pytest.raises(InputError, match="benchmark-unreadable"):
        rows_of("gsm8k", tmp_path / "x.jsonl.gz")
    text = json.dumps({"question": "a\u2028b", "answer": "#### 1"}, ensure_ascii=False)
    (tmp_path / "x.jsonl").write_text(text + "\n")
    assert rows_of("gsm8k", tmp_path / "x.jsonl")[0].prompt == "a\u2028b", (
        "a line separator is no end of a line of JSON"
    )


def test_questions_of_two_benchmarks_are_told(tmp_path: Path) -> None:
    shared = [{"question": "What is  1 + 1?", "answer": "#### 2"}]
    one = rows_of("gsm8k", lines(tmp_path / "a.jsonl", shared))
    problem = {"problem": "what is 1+1", "level": "Level 1", "type": "Algebra", "solution": r"\boxed{2}"}
    other = rows_of("math", lines(tmp_path / "b.jsonl", [problem]))
    with pytest.raises(InputError, match=r"benchmark-shares-questions.*1 of gsm8k and math"):
        check_together({"gsm8k": one, "math": other})
    check_together({"gsm8k": one, "mgsm": one})


@needs_data
def test_a_sample_is_in_proportion_and_does_not_depend_on_the_files_order() -> None:
    rows = rows_of("math")
    chosen = stratified(rows, 100, seed=42)
    shuffled = list(rows)
    Random(3).shuffle(shuffled)
    assert stratified(shuffled, 100, seed=42) == chosen and stratified(rows, 100, seed=43) != chosen
    assert len(chosen) == len({row.key for row in chosen}) == 100
    for stratum, count in Counter(row.stratum for row in rows).items():
        taken = sum(row.stratum == stratum for row in chosen)
        assert abs(taken - 100 * count / len(rows)) < 1, stratum
    assert len(stratified(rows_of("humaneval"), 500)) == 164


def test_fingerprints_that_come_along_are_sketches() -> None:
    assert known().keys() == {"drop", "gsm8k", "humaneval", "math", "mgsm", "mmlu"}
    for parts in known().values():
        for hashes in parts.values():
            assert len(hashes) == 64 and hashes == sorted(set(hashes))


@needs_data
@pytest.mark.parametrize("name", FILES)
def test_they_are_those_of_the_files(name: str) -> None:
    if name == "mgsm":
        for part, hashes in known()[name].items():
            assert sketch(rows_of(name, DATA / "mgsm" / f"mgsm_{part}.tsv")) == hashes
        return
    part = "dev" if name == "drop" else "test"
    assert sketch(rows_of(name)) == known()[name][part]
