"""The catalogue, third part: benchmarks, validation, and the sandbox that generated code runs in."""

from __future__ import annotations

from cogumi.errors.entry import ErrorEntry

VALIDATION: dict[str, ErrorEntry] = {
    "benchmark-unknown": ErrorEntry(
        "There is no benchmark of this name.", "cogumi benchmarks ls names those that are known; write NAME=PATH."
    ),
    "benchmark-unreadable": ErrorEntry(
        "The file cannot be read as the benchmark's: its encoding, its JSON or its table is broken.",
        "Take it from its source again.",
    ),
    "benchmark-columns": ErrorEntry(
        "The file has not the columns of the benchmark.",
        "Check which release it is; docs/how-to/use-benchmarks.md has the forms that are read.",
    ),
    "benchmark-is-another": ErrorEntry(
        "The file's questions are those of another benchmark than it is called.",
        "Take the real one from its source; a substitute under its name measures something else.",
    ),
    "benchmark-empty": ErrorEntry(
        "Rows of the file have no question or no answer, or a column that the benchmark has is empty throughout.",
        "Take it from its source again: something was lost on the way.",
    ),
    "benchmark-code-broken": ErrorEntry(
        "A reference solution is no valid Python any more.",
        "Take the file from its source again, and strip nothing: indents are part of it.",
    ),
    "training-contaminated": ErrorEntry(
        "Training rows hold questions of a benchmark: a score on it would say nothing.",
        "Take the rows out (--out lists them), or allow them with --most and say so beside the score.",
    ),
    "benchmark-shares-questions": ErrorEntry(
        "The same questions stand in two benchmarks, so that one of them is not what it is called.",
        "Look at both with cogumi benchmarks look.",
    ),
    "suite-unreadable": ErrorEntry(
        "The file is no suite of rows as cogumi benchmarks sample writes it.",
        "Write it again with cogumi benchmarks sample; rows are not edited by hand.",
    ),
    "suite-empty": ErrorEntry(
        "There is nothing to validate on: no benchmark and no held-out row.",
        "Name benchmarks in validation.benchmarks, or give validation.held_out_rows of a dataset that has a test part.",
    ),
    "scores-differ": ErrorEntry(
        "The scores that are to be compared are not of the same rows.",
        "Score both models on one suite; a comparison is row by row.",
    ),
    "models-too-few": ErrorEntry(
        "There is no model to validate.",
        "Run the stages before (base, train), or name models: cogumi evaluate MODEL...",
    ),
    "models-same-name": ErrorEntry(
        "Two models go by one name, so that their scores could not be told apart.", "Write NAME=MODEL for one of them."
    ),
    "choices-unknown": ErrorEntry(
        "A choice can be made in two ways, and this is neither.", "Say loglikelihood or generation."
    ),
    "gate-not-passed": ErrorEntry(
        "The model is worse than the one it is to replace by more than is allowed, or it cannot be told that it is not.",
        "Look at what it loses in scores.jsonl; more rows tell smaller differences apart.",
    ),
    "reference-unreadable": ErrorEntry(
        "The file of recorded answers cannot be read.",
        "Give a CSV with the column prompt and, of each model, a column of its name with True or False.",
    ),
    # -- sandbox
    "sandbox-missing": ErrorEntry(
        "The sandbox is not usable here, so generated code cannot run.",
        "Install bubblewrap (apt-get install bubblewrap) and allow user namespaces; or use docker, with its image at hand.",
    ),
    "sandbox-unknown": ErrorEntry("There is no sandbox of this name.", "Use bubblewrap or docker."),
    "code-not-trusted": ErrorEntry(
        "Without a sandbox, generated code may do whatever you may.",
        "Use bubblewrap or docker. If you trust the code, say --i-trust-this-code, and not as root.",
    ),
}
