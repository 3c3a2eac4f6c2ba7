"""The suite and the validation of a run: real rows, real small models, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cogumi.dataset.plan import Plan
from cogumi.dataset.steps import generate, open_dataset_run
from cogumi.errors import CogumiError
from cogumi.evaluate import scoring
from cogumi.evaluate.candidates import open_candidate
from cogumi.evaluate.claim import check_validation, validation_memory_gib
from cogumi.evaluate.judging import Judge
from cogumi.evaluate.request import Candidate, ValidateRequest, fetch_models
from cogumi.evaluate.row import BenchmarkRow, Scoring
from cogumi.evaluate.scores import read_scores
from cogumi.evaluate.scoring import score
from cogumi.evaluate.stage import make_scores, make_validation
from cogumi.evaluate.suite import FRESH, HELD_OUT, RANKED, build_suite, fresh_rows, ranked_rows, read_suite, write_suite
from cogumi.evaluate.suite_stage import make_suite
from cogumi.lm.chat import Encoded, encode_example
from cogumi.lm.device import Device
from cogumi.recipe import Recipe, ValidationSection, load_recipe
from cogumi.store.artifacts import read_receipt
from cogumi.store.files import read_json, read_jsonl, write_json
from cogumi.store.run_folder import RunFolder
from cogumi.teachers.procedural import recognise
from cogumi.training.claim import Shape
from cogumi.training.draft.answers import prompt_of
from tests.unit.evaluate.models import chat_model

CPU = Device("cpu", "CPU", "", simulated=False)
LETTERS = "How much is {} and one, in words that nobody else has used for this sum in the year of the seven moons?"


def gsm8k_file(place: Path, count: int = 12) -> Path:
    """A file of GSM8K's form with questions of our own."""
    rows = [{"question": LETTERS.format(n), "answer": f"so\n#### {n + 1}"} for n in range(count)]
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunFolder, Path]]:
    """The tiny recipe's dataset with a larger test part, and a file of a benchmark."""
    recipe = load_recipe("tiny", ["train=null", "base=null", "draft=null", "dataset.split.test=0.2"])
    place = tmp_path_factory.mktemp("runs")
    with RunFolder.open(place, "r", recipe) as folder:

        async def make() -> None:
            async with open_dataset_run(recipe, folder) as run:
                await generate(run, Plan.for_recipe(recipe))

        asyncio.run(make())
        yield folder, gsm8k_file(place / "gsm8k.jsonl")


def recipe_of(benchmark: Path | None = None, *more: str) -> Recipe:
    named = [f"validation.benchmarks.gsm8k={benchmark}"] if benchmark else []
    return load_recipe("tiny", ["train=null", "base=null", "draft=null", "dataset.split.test=0.2", *named, *more])


def elsewhere(place: Path) -> RunFolder:
    place.mkdir()
    return RunFolder(place, "other", resumed=False)


def test_rows_of_a_suite_and_that_it_is_read_back_as_it_was(made: tuple[RunFolder, Path], tmp_path: Path) -> None:
    folder, benchmark = made
    section = ValidationSection(
        benchmarks={"gsm8k": str(benchmark)}, rows=5, held_out_rows=6, fresh_rows=32, ranked_rows=20
    )
    suite = build_suite(section, folder.dataset)
    counts = {name: facts["rows"] for name, facts in suite.sources.items()}
    assert counts == {"gsm8k": 5, HELD_OUT: 6, FRESH: 32, RANKED: 20}
    write_suite(tmp_path / "s.jsonl", suite.rows)
    assert read_suite(tmp_path / "s.jsonl") == suite.rows
    assert build_suite(section, folder.dataset).rows == suite.rows
    assert build_suite(section.model_copy(update={"seed": 1}), folder.dataset).rows != suite.rows
    held = [row for row in suite.rows if row.source == HELD_OUT]
    trained = {row["prompt"] for row in read_jsonl(folder.dataset / "train.jsonl")}
    assert not trained & {row.prompt for row in held}
    hard = next(row for row in build_suite(section.model_copy(update={"held_out_rows": 99}), folder.dataset).rows
                if row.source == HELD_OUT and row.difficulty == "hard")  # fmt: skip
    assert "<draft>" in hard.more["worked"] and "<draft>" not in hard.responses[0]


def test_fresh_rows_are_new_known_and_of_every_domain(made: tuple[RunFolder, Path]) -> None:
    domains = ("math", "coding", "reading")
    rows = fresh_rows(60, 1, set(), domains)
    assert len({row.key for row in rows}) == 60 and {row.domain for row in rows} == {"Math", "Coding", "Reading"}
    assert {row.difficulty for row in rows} == {"easy", "hard"}
    assert all(recognise(row.prompt) is not None for row in rows)
    from cogumi.evaluate.row import hash_of

    taken = {hash_of(row.prompt) for row in rows[:30]}
    again = fresh_rows(60, 1, taken, domains)
    assert not {row.prompt for row in rows[:30]} & {row.prompt for row in again} and len(again) == 60


def test_ranked_rows_hold_the_right_answer_among_wrong_ones() -> None:
    rows = ranked_rows(60, 1, set(), ("math", "coding", "reading", "instruction"))
    assert len(rows) == 60 == len({row.key for row in rows})
    for row in rows:
        choices = row.more["choices"]
        assert 2 <= len(choices) == len(set(choices)) <= 4 and choices.count(row.responses[0]) == 1
        task = recognise(row.prompt)
        assert task is not None
        if not task.family.runs_code:
            assert [task.verify(choice) for choice in choices] == [choice == row.responses[0] for choice in choices]
    places = [row.more["choices"].index(row.responses[0]) for row in rows]
    assert len(set(places)) == 4, "not always at the same place"


def test_the_likelier_answer_is_chosen_by_nats_a_letter(tmp_path: Path) -> None:
    rows = ranked_rows(12, 2, set(), ("math", "reading"))
    with open_candidate(Candidate("m", str(chat_model(tmp_path / "m"))), "cpu") as opened, Judge(None) as judge:
        found = score(opened, "m", rows, ValidationSection(choices="generation"), judge).scores.rows
        for row, scored in zip(rows, found, strict=True):
            prompt = prompt_of(encode_example(opened.tokenizer, row.prompt, "-"))
            by_letter = []
            for choice in row.more["choices"]:
                words = opened.tokenizer.encode(choice)
                (read,) = opened.read([Encoded([*prompt, *words], [0] * len(prompt) + [1] * len(words))])
                by_letter.append(read.nats / len(choice))
            assert scored.answer == row.more["choices"][by_letter.index(min(by_letter))]
            assert scored.right is (scored.answer == row.responses[0])


def test_a_suite_that_was_changed_by_hand_or_is_none_is_refused(made: tuple[RunFolder, Path], tmp_path: Path) -> None:
    folder, benchmark = made
    suite = build_suite(
        ValidationSection(benchmarks={"gsm8k": str(benchmark)}, rows=3, held_out_rows=0), folder.dataset
    )
    rows = [row.to_json() for row in suite.rows]
    for bad, code in (
        ([{**rows[0], "prompt": "Another question?"}], "suite-unreadable"),
        ([{"prompt": "no metadata", "responses": ["x"]}], "suite-unreadable"),
        ([{**rows[0], "metadata": {**rows[0]["metadata"], "scoring": "by eye"}}], "suite-unreadable"),
        ([], "suite-empty"),
    ):
        file = tmp_path / "bad.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in bad))
        with pytest.raises(CogumiError, match=code):
            read_suite(file)
    with pytest.raises(CogumiError, match="suite-unreadable"):
        read_suite(tmp_path / "none.jsonl")
    with pytest.raises(CogumiError, match="suite-empty"):
        build_suite(ValidationSection(held_out_rows=0), folder.dataset)


def test_a_dataset_that_holds_a_benchmarks_question_does_not_get_past(
    made: tuple[RunFolder, Path], tmp_path: Path
) -> None:
    source, benchmark = made
    folder = elsewhere(tmp_path / "o")
    shutil.copytree(source.dataset, folder.dataset)
    clean = make_suite(recipe_of(benchmark), folder, folder.dataset)
    assert clean["contamination"]["contaminated"] == 0 and clean["contamination"]["rows"] > 0
    planted = {"prompt": "What is next?", "response": "As it says: " + LETTERS.format(3), "metadata": {}}
    _append(folder.dataset, planted)
    with pytest.raises(CogumiError, match="training-contaminated"):
        make_suite(recipe_of(benchmark), folder, folder.dataset)
    (found,) = read_jsonl(folder.path / "contaminated.jsonl")
    assert found["source"] == "gsm8k" and found["how"] == "13-gram"
    allowed = make_suite(recipe_of(benchmark, "validation.most_contaminated=1"), folder, folder.dataset)
    assert allowed["contamination"]["contaminated"] == 1 and allowed["contamination"]["by"] == {"gsm8k": {"13-gram": 1}}


def test_a_dataset_whose_rows_are_all_held_out_has_a_suite(made: tuple[RunFolder, Path], tmp_path: Path) -> None:
    """A part without a row has no file; of one row in all that may be the training part."""
    source, benchmark = made
    folder = elsewhere(tmp_path / "o")
    shutil.copytree(source.dataset, folder.dataset)
    (folder.dataset / "train.jsonl").unlink()
    receipt = read_json(folder.dataset / "receipt.json")
    del receipt["files"]["train.jsonl"]
    write_json(folder.dataset / "receipt.json", receipt)
    found = make_suite(recipe_of(benchmark), folder, folder.dataset)
    assert found["contamination"]["rows"] == found["contamination"]["contaminated"] == 0 and found["rows"] > 0


def _append(dataset: Path, row: dict[str, Any]) -> None:
    """To the training rows, with a receipt that knows it."""
    from cogumi.store.files import sha256_of

    file = dataset / "train.jsonl"
    with file.open("a") as lines:
        lines.write(json.dumps(row) + "\n")
    receipt = json.loads((dataset / "receipt.json").read_text())
    receipt["files"]["train.jsonl"] = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    (dataset / "receipt.json").write_text(json.dumps(receipt))


@pytest.fixture(scope="module")
def validated(
    made: tuple[RunFolder, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, RunFolder, list[Candidate], dict[str, Any]]:
    source, benchmark = made
    place = tmp_path_factory.mktemp("models")
    models = [Candidate(name, str(chat_model(place / name, seed))) for name, seed in (("base", 1), ("merged", 2))]
    folder, recipe = elsewhere(place / "run"), recipe_of(benchmark)
    make_suite(recipe, folder, source.dataset)
    for model in models:
        make_scores(recipe, folder, folder.path / "suite", model, CPU)
    return recipe, folder, models, make_validation(recipe, folder, folder.path / "suite", models, CPU)


def test_figures_are_those_of_the_rows_in_the_artifact(
    validated: tuple[Recipe, RunFolder, list[Candidate], dict[str, Any]],
) -> None:
    _, folder, _, figures = validated
    receipt = read_receipt(folder.path / "validation")
    assert receipt is not None and receipt["stage"] == "validate_model" and receipt["metrics"] == figures
    assert figures["verdict"] in ("better", "worse", "inconclusive") and figures["contaminated"] == 0
    for name, found in figures["models"].items():
        rows = read_scores(folder.path / "validation" / "scores" / f"{name}.jsonl", name).rows
        assert len(rows) == figures["rows"] == found["rows"]
        judged = [row for row in rows if row.right is not None]
        assert found["n"] == len(judged) and found["accuracy"] == sum(bool(r.right) for r in judged) / len(judged)
        assert found["nll"] == pytest.approx(sum(r.nats or 0 for r in rows) / sum(r.tokens for r in rows))
        assert found["ci95"][0] <= found["accuracy"] <= found["ci95"][1]
        assert found["how"]["dtype"] == "float32" and found["how"]["packed"]
    listed = list(read_jsonl(folder.path / "validation" / "not_right.jsonl"))
    lost = sum(
        sum(found["outcomes"].get(o, 0) for o in ("truncated", "refused", "unparsed", "unjudged"))
        for found in figures["models"].values()
    )
    assert len(listed) == lost > 0
    samples = list(read_jsonl(folder.path / "validation" / "samples.jsonl"))
    assert {sample["why"] for sample in samples} <= {"largest gain", "largest loss", "by chance"} and len(samples) >= 3
    told = read_json(folder.path / "validation" / "comparison.json")
    assert told["by_domain"]["base"].keys() == told["by_domain"]["merged"].keys()
    relative = figures["relative_to_gpt4"]["gsm8k"]
    assert relative["of"] == "published" and relative["date"] == "2023-03-15" and relative["gpt4"] == 0.92


def test_what_was_scored_is_not_scored_again_and_what_is_new_is(
    validated: tuple[Recipe, RunFolder, list[Candidate], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    recipe, folder, models, figures = validated
    asked: list[str] = []
    real = scoring.score
    monkeypatch.setattr(scoring, "score", lambda opened, name, *rest: asked.append(name) or real(opened, name, *rest))
    suite = folder.path / "suite"
    again = [make_scores(recipe, folder, suite, model, CPU) for model in models]
    assert asked == [] and [found["nll"] for found in again] == [figures["models"][m.name]["nll"] for m in models]
    assert make_validation(recipe, folder, suite, models, CPU) == figures
    changed = Candidate("merged", str(chat_model(tmp_path / "new", seed=3)))
    make_scores(recipe, folder, suite, changed, CPU)
    assert asked == ["merged"]
    other = make_validation(recipe, folder, suite, [models[0], changed], CPU)
    assert other["models"]["merged"]["nll"] != figures["models"]["merged"]["nll"]
    make_scores(recipe_of(None, "validation.max_new_tokens=4"), folder, suite, models[0], CPU)
    assert asked == ["merged", "base"], "another way of asking is another score"


def test_the_table_is_made_anew_where_more_is_known_of_the_same_rows(
    validated: tuple[Recipe, RunFolder, list[Candidate], dict[str, Any]], tmp_path: Path
) -> None:
    """The rows are the same bytes; what has changed is the dataset's contamination, in the receipt of the suite."""
    recipe, source, models, _ = validated
    folder = elsewhere(tmp_path / "o")
    for name in ("suite", "scores"):
        shutil.copytree(source.path / name, folder.path / name)
    for model in models:
        make_scores(recipe, folder, folder.path / "suite", model, CPU)
    assert make_validation(recipe, folder, folder.path / "suite", models, CPU)["contaminated"] == 0
    receipt = json.loads((folder.path / "suite" / "receipt.json").read_text())
    receipt["inputs"], receipt["metrics"]["contamination"]["contaminated"] = "another dataset", 7
    (folder.path / "suite" / "receipt.json").write_text(json.dumps(receipt))
    assert make_validation(recipe, folder, folder.path / "suite", models, CPU)["contaminated"] == 7


def test_a_model_that_was_not_scored_is_named(
    validated: tuple[Recipe, RunFolder, list[Candidate], dict[str, Any]], tmp_path: Path
) -> None:
    recipe, folder, models, _ = validated
    with pytest.raises(CogumiError, match="models-too-few") as refused:
        make_validation(recipe, folder, folder.path / "suite", [*models, Candidate("draft", models[0].source)], CPU)
    assert "draft" in str(refused.value)


def test_answers_do_not_depend_on_how_many_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cogumi.training import writing

    rows = fresh_rows(24, 3, set(), ("math", "reasoning", "common_sense"))
    choices = [
        BenchmarkRow(
            f"Which one, {n}?\nA. a\nB. b\nC. c\nD. d",
            ("B",),
            "mmlu",
            "Knowledge",
            Scoring.CHOICE,
            "",
            "s",
            {"choices": list("abcd")},
        )
        for n in range(8)
    ]
    found = []
    with open_candidate(Candidate("m", str(chat_model(tmp_path / "m"))), "cpu") as opened, Judge(None) as judge:
        for at_once in (1, 8):
            monkeypatch.setattr(writing, "_ROWS_AT_ONCE", {"cpu": at_once})
            how = ValidationSection(max_new_tokens=12, token_budget=None if at_once == 8 else 1)
            found.append(score(opened, "m", [*rows, *choices], how, judge).scores)
    one, eight = found
    assert [(r.outcome, r.answer, r.right) for r in one.rows] == [(r.outcome, r.answer, r.right) for r in eight.rows]
    for a, b in zip(one.rows, eight.rows, strict=True):
        assert a.nats is not None and b.nats == pytest.approx(a.nats, rel=1e-5)
    assert {row.answer for row in one.rows[24:]} <= set("ABCD")


def test_a_row_that_is_too_long_is_listed_and_not_scored(tmp_path: Path) -> None:
    long = BenchmarkRow("word " * 600, ("1",), "gsm8k", "Math", Scoring.NUMBER, "", "", {})
    short = BenchmarkRow("How many?", ("1",), "gsm8k", "Math", Scoring.NUMBER, "", "", {})
    with open_candidate(Candidate("m", str(chat_model(tmp_path / "m"))), "cpu") as opened, Judge(None) as judge:
        how = ValidationSection(max_new_tokens=4, max_seq_length=300)
        found = score(opened, "m", [long, short], how, judge).scores.rows
    assert found[0].nats is None and found[0].outcome == "unjudged" and "too long" in found[0].detail
    assert found[1].nats is not None


def test_the_runs_own_models_are_found_and_none_is_said(made: tuple[RunFolder, Path], tmp_path: Path) -> None:
    folder = elsewhere(tmp_path / "o")
    request = ValidateRequest(run="other", root=str(tmp_path))
    opened: Any = None
    with pytest.raises(CogumiError, match="models-too-few"):
        fetch_models(request, recipe_of(), folder, opened)
    named = load_recipe(
        "tiny", ["base=null", "draft=null", "train.base=meta-llama/Llama-3.1-8B-Instruct", "train.revision=abc"]
    )
    (only,) = fetch_models(request, named, folder, opened)
    assert (only.name, only.source, only.revision) == ("base", "meta-llama/Llama-3.1-8B-Instruct", "abc")
    for name in ("base", "adapter", "merged", "draft"):
        (folder.path / name).mkdir()
        (folder.path / name / "receipt.json").write_text("{}")
    found = fetch_models(request, recipe_of(), folder, opened)
    assert [each.name for each in found] == ["base", "trained", "merged", "draft"]
    assert found[1].source == found[0].source and found[1].adapter == str(folder.path / "adapter")


def test_the_command_of_a_request_does_it_again(tmp_path: Path) -> None:
    """What a site has asked for, typed into a terminal."""
    from typer.testing import CliRunner

    from cogumi.cli.main import app

    request = ValidateRequest(
        run="r", dataset="d@v0001", store=str(tmp_path), root=str(tmp_path), suite="d-suite@v0001", base="d-base@v0001",
        adapter="d-adapter@v0001", merged="d-merged@v0001", draft="d-draft@v0001",
    )  # fmt: skip
    words = request.command.split()[1:]
    done = CliRunner().invoke(app, [*words, "--root", str(tmp_path), "--dry-run", "--json"], catch_exceptions=False)
    assert done.exit_code == 0 and json.loads(done.stdout)["run"] == "r"
    with pytest.raises(CogumiError, match="version-not-found"):
        CliRunner().invoke(app, [*words, "--root", str(tmp_path), "--no-prefect"], catch_exceptions=False)
    assert ValidateRequest.kept(tmp_path / "r") == request


def test_what_would_end_it_is_said_before_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CogumiError, match="stage-not-in-recipe"):
        check_validation(recipe_of(None, "validation=null"))
    with pytest.raises(CogumiError, match="benchmark-unknown"):
        check_validation(recipe_of(None, "validation.benchmarks.gsm9k=x"))
    with pytest.raises(CogumiError, match="benchmark-unreadable"):
        check_validation(recipe_of(tmp_path / "nowhere"))
    monkeypatch.setenv("SOME_DATA", str(tmp_path))
    gsm8k_file(tmp_path / "g.jsonl")
    check_validation(recipe_of(None, "validation.benchmarks.gsm8k=$SOME_DATA/g.jsonl"))


def test_memory_of_an_8b_model_is_that_of_half_a_card() -> None:
    shape = Shape(4096, 14336, 32, 32, 8, 128256, tied=False)
    assert 25 < validation_memory_gib([shape]) < 45
