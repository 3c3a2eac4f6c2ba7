"""Every error a user can meet: a code, what happened, and what to do about it.

    CogumiError
    |-- InputError      exit 2   a recipe, argument, URL or file that cannot be used
    |-- StorageError    exit 3   disk, database, run folder
    |-- RunError        exit 4   a run that cannot go on as asked (Interrupted: exit 130)
    |-- BudgetError     exit 5   the hard budget stopped the run
    `-- TeacherError    exit 6   a provider or the wire to it; may be worth another attempt

`docs/reference/errors.md` is generated from CATALOGUE. Wire errors add facts of their own in
`cogumi.teachers.wire_errors`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """What a code means, and the next step for the person who sees it."""

    cause: str
    remedy: str


CATALOGUE: dict[str, ErrorEntry] = {
    # -- input
    "recipe-not-found": ErrorEntry(
        "There is no preset or file of this name.",
        "Name a preset (cogumi run --help lists them) or a path to a YAML file.",
    ),
    "recipe-not-yaml": ErrorEntry("The recipe is not readable YAML.", "Correct the line the message names."),
    "recipe-unknown-key": ErrorEntry(
        "The recipe has a key that no section knows.",
        "Use the suggested key, or remove it. docs/reference/recipe.md lists all.",
    ),
    "recipe-bad-value": ErrorEntry(
        "A value in the recipe is outside what its key allows.", "Correct the value the message names."
    ),
    "recipe-bad-override": ErrorEntry("A --set argument is not KEY=VALUE.", "Write --set section.key=value."),
    "questions-unreadable": ErrorEntry(
        "No usable question was found in the files given.",
        "Give .jsonl files with one object a line holding a 'question' and a 'domain'.",
    ),
    "augment-unreadable": ErrorEntry(
        "A public dataset to augment with cannot be read, or has too few usable rows.",
        "Check dataset.augment: path, or hub with a pinned revision, and rows.",
    ),
    "review-unreadable": ErrorEntry(
        "A reviewed file cannot be used.",
        "Decisions are accept, edit or reject; an edit holds a new question or answer; ids are those of the version.",
    ),
    "stage-unknown": ErrorEntry("There is no stage of this name.", "Use one of the stages the message lists."),
    "stage-not-in-recipe": ErrorEntry(
        "The recipe has no section for this stage.", "Add the section the message names, or use a preset that has it."
    ),
    "torch-missing": ErrorEntry(
        "This stage needs PyTorch and transformers, which are not installed.", "pip install 'cogumi[train]'."
    ),
    "corpus-unreadable": ErrorEntry(
        "There is no text to train a base model on, or none that is held out.",
        "Check the dataset (train.jsonl, validation.jsonl: dataset.split) and base.texts.",
    ),
    "corpus-too-small": ErrorEntry(
        "The corpus does not hold one training window.", "Lower base.seq_length, or make a larger dataset."
    ),
    "request-bad-value": ErrorEntry(
        "A value that the run was asked for with is outside what its field allows.",
        "Correct the field the message names.",
    ),
    "form-refused": ErrorEntry(
        "The deployment's form refuses what the run was started with, such as a recipe that is a file on this machine.",
        "Go on with it in this process: cogumi resume RUN --here.",
    ),
    "block-unknown": ErrorEntry(
        "The server has no such block.", "Make it in the dashboard under Blocks, or name one that is there."
    ),
    "site-bad-url": ErrorEntry("The URL of a database or of Redis cannot be used.", "Give one of the form shown."),
    "bench-unknown": ErrorEntry("There is no benchmark of this name.", "Use one of the benchmarks the message lists."),
    "url-refused": ErrorEntry(
        "The teacher's base_url is not one that keys may be sent to.",
        "Use https://, or http:// on a loopback address with allow_loopback_http: true.",
    ),
    "key-missing": ErrorEntry(
        "The environment variable that should hold the API key is not set.",
        "Export it, then run the same command again.",
    ),
    "model-not-listed": ErrorEntry(
        "The provider does not list this model.", "Name a model that it lists; cogumi doctor --recipe R asks it."
    ),
    "model-ended": ErrorEntry("The provider has shut this model down.", "Name its successor in the recipe."),
    "endpoint-unusable": ErrorEntry(
        "The teacher's endpoint cannot be asked what it has.",
        "Check base_url and key with cogumi doctor --recipe R; preflight: false skips this check.",
    ),
    "secret-in-recipe": ErrorEntry(
        "A recipe value looks like an API key.",
        "Put the key into an environment variable and name that in api_key_env.",
    ),
    "tokenizer-unreadable": ErrorEntry(
        "The tokenizer cannot be read.", "Name a folder with a tokenizer.json, or the file itself."
    ),
    "tokenizer-lacks-specials": ErrorEntry(
        "The tokenizer has not the special tokens of Llama-3's chat template.",
        "Use the tokenizer of Llama-3.1-8B-Instruct, or train one (dataset.tokenizer.path: null).",
    ),
    "version-name-refused": ErrorEntry(
        "The dataset's name cannot be a folder name.", "Use lower-case letters, digits, '-', '_' and '.'."
    ),
    "run-name-refused": ErrorEntry(
        "The run's name cannot be a folder name.",
        "Use letters, digits, '-', '_' and '.', not starting with '.'.",
    ),
    "from-wheel": ErrorEntry(
        "flows/ is not importable: this is the bare wheel, not a checkout.",
        "Add --no-prefect, or run from a checkout.",
    ),
    # -- storage
    "disk-full": ErrorEntry(
        "The disk ran full; what was not yet durable was not counted.",
        "Free some space, then run the same command: it resumes.",
    ),
    "disk-error": ErrorEntry(
        "The disk refused a write or read.",
        "Check the disk (dmesg, permissions, quota), then run the same command: it resumes.",
    ),
    "database-unreachable": ErrorEntry(
        "The ledger's database does not answer.", "Check the URL, that the server runs, and its permissions."
    ),
    "server-unreachable": ErrorEntry(
        "The Prefect server does not answer, or refused what was asked of it.",
        "Look at the log that the message names; cogumi status, cogumi down and cogumi up again.",
    ),
    "store-refused": ErrorEntry(
        "The artifact store refuses what was asked: no right to it, or no such bucket.",
        "Check the bucket's name and the rights of the key or role; cogumi doctor --store URL tries it.",
    ),
    "store-unreachable": ErrorEntry(
        "The artifact store does not answer, or fails again and again.",
        "Check endpoint and network, then run the same command: nothing partial is ever visible.",
    ),
    "database-damaged": ErrorEntry(
        "The ledger's database is damaged.", "Restore the last backup: cogumi ledger restore BACKUP --to RUN."
    ),
    "ledger-newer": ErrorEntry(
        "The ledger was written by a newer cogumi.",
        "Upgrade cogumi, or choose another run name. Nothing was changed.",
    ),
    "run-newer": ErrorEntry(
        "The run folder was written by a newer cogumi.",
        "Upgrade cogumi, or choose another run name. Nothing was changed.",
    ),
    "run-damaged": ErrorEntry(
        "run.json cannot be read.", "Restore run.json from a backup, or choose another run name."
    ),
    "artifact-damaged": ErrorEntry(
        "A stored file does not match the hash in its receipt.",
        "Delete the artifact folder and run the same command: it is made again from the ledger.",
    ),
    "shard-damaged": ErrorEntry(
        "A shard file of the run is gone or damaged.",
        "Run the same command again: the shard is made again from the ledger, at no cost.",
    ),
    "backup-exists": ErrorEntry(
        "The destination already holds a ledger.", "Name another destination, or move the old one away."
    ),
    # -- run
    "run-locked": ErrorEntry(
        "Another process is working in this run folder.", "Wait for it or stop it; or use another --run name."
    ),
    "run-recipe-changed": ErrorEntry(
        "The run folder belongs to a recipe with other cells or another seed.",
        "Use another --run name, or the recipe the run was started with.",
    ),
    "cells-short": ErrorEntry(
        "Some (domain, difficulty) cells did not reach their count; nothing was published.",
        "Run the same command again, raise dataset.max_rounds, or look at the funnel for what rejects so many.",
    ),
    "merge-refused": ErrorEntry(
        "The merged dataset failed a check; nothing was published.",
        "The message names the check and the rows.",
    ),
    "too-many-failures": ErrorEntry(
        "Most calls to a teacher failed, so the run stopped early.",
        "Look at the table of retries by code, mend the cause, run the same command: it resumes.",
    ),
    "version-not-found": ErrorEntry(
        "There is no such version of the dataset.", "Name one of those that the message lists."
    ),
    "not-approved": ErrorEntry(
        "The run was not approved, so nothing was bought.", "Run it again and approve it in the dashboard."
    ),
    "batch-unreachable": ErrorEntry(
        "The provider stayed away while a batch of ours was open there.",
        "Run the same command when the provider answers: the batch is followed, not bought again.",
    ),
    "run-without-request": ErrorEntry(
        "The run was started by a cogumi that did not keep its request.", "Run the command that the message shows."
    ),
    "port-taken": ErrorEntry("Something else listens at that address.", "Stop it, or choose another --port."),
    "site-is-up": ErrorEntry(
        "The server is up with another address or other databases.",
        "Run cogumi down first, then cogumi up with the changes.",
    ),
    "site-missing": ErrorEntry("No server was brought up from this folder.", "Run cogumi up, or name its --home."),
    "run-not-found": ErrorEntry("There is no such run.", "Name a folder under runs/, or start one with cogumi run."),
    "run-interrupted": ErrorEntry(
        "The run was interrupted.", "Run the same command: it resumes, and says what it reuses."
    ),
    "no-gpu": ErrorEntry(
        "This phase needs a GPU, and torch sees none here.",
        "Run it on a GPU worker; or try it out on a site brought up with --simulate.",
    ),
    "gpu-of-another-kind": ErrorEntry(
        "The worker's card is not of its pool's kind.", "Start the worker for the pool that fits its card."
    ),
    "gpu-too-small": ErrorEntry(
        "The card has not enough free memory for this phase.",
        "End what else runs on it (one process a GPU), or use a larger card.",
    ),
    "model-unsupported": ErrorEntry(
        "The model is not of Llama's architecture as this version trains it.",
        "Use a Llama without biases (Llama 2 to 3.2, TinyLlama, or a base model of this program).",
    ),
    "model-not-allowed": ErrorEntry(
        "The model is neither a folder nor one of the hub ids that may be asked for.",
        "Download it and give its folder, once you have looked at what is in it.",
    ),
    "model-unreadable": ErrorEntry(
        "The folder does not hold a model that can be read: config.json and weights as safetensors that fit it.",
        "Download it again, or convert its weights to safetensors.",
    ),
    "model-not-finite": ErrorEntry(
        "A weight of the model is not a number.", "Take the model from its source again; do not train on this copy."
    ),
    "chat-template-missing": ErrorEntry(
        "The model's tokenizer has no chat template, so that turns of a conversation cannot be told apart.",
        "Use the instruct version of the model, or add a chat template to its tokenizer_config.json.",
    ),
    "vocabulary-mismatch": ErrorEntry(
        "The tokenizer has more tokens than the model's vocabulary.", "Use the tokenizer that belongs to the model."
    ),
    "adapter-unreadable": ErrorEntry(
        "The folder does not hold an adapter for this model and head.",
        "Check that base model, head and rank are those it was trained with.",
    ),
    "lora-bad-shape": ErrorEntry(
        "The LoRA section names modules that a Llama layer does not have.",
        "Choose among q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.",
    ),
    "example-too-long": ErrorEntry(
        "Rows are longer than the recipe's max_seq_length.",
        "Raise train.max_seq_length, or set train.too_long to drop, which leaves such rows out.",
    ),
    "domain-empty": ErrorEntry(
        "A domain has no task with enough rows for an episode.",
        "Make more rows of it, or lower support and query, or leave it out of held_out_domains.",
    ),
    "tasks-too-few": ErrorEntry(
        "There are not enough tasks to train on and to hold out.",
        "Make more rows, or lower support, query, tasks_per_step or held_out_share.",
    ),
    "support-too-small": ErrorEntry(
        "A task has fewer rows than an episode takes.", "Lower support or query, or make more rows."
    ),
    "training-diverged": ErrorEntry(
        "Training got worse beyond chance, and did so again after going back to a good checkpoint three times.",
        "Lower train.learning_rate or the inner rate, and look at the batches after the last good step in metrics.jsonl.",
    ),
    "gpu-out-of-memory": ErrorEntry(
        "The device's memory does not hold one task of a step.",
        "Lower support, query or max_seq_length, set train.keep to inputs, or use a larger card.",
    ),
    "example-without-loss": ErrorEntry(
        "An example holds no token to train on.", "Remove rows with empty answers; see the dataset's funnel."
    ),
    "loss-not-finite": ErrorEntry(
        "The training loss is not a number any more.", "Lower the learning rate; the last checkpoint is kept."
    ),
    "run-stopped": ErrorEntry(
        "The run was asked to stop and has saved its state.", "Run the same command: it goes on where it was."
    ),
    "run-without-dataset": ErrorEntry(
        "The run's folder holds no finished dataset.",
        "Finish it with cogumi run dataset, or name a published dataset with --dataset NAME@VERSION.",
    ),
    "phase-failed": ErrorEntry(
        "A phase of the pipeline failed or was cancelled on its work pool.",
        "Open its flow run, mend what its message says, and run the pipeline again: finished phases are reused.",
    ),
    "phase-crashed": ErrorEntry(
        "The process of a phase went away on its work pool.",
        "Run the pipeline again: the phase goes on from its last checkpoint.",
    ),
    "sandbox-missing": ErrorEntry(
        "bubblewrap is not usable here, so generated code cannot run.",
        "Install bubblewrap (apt-get install bubblewrap) and allow user namespaces.",
    ),
    # -- budget
    "budget-reached": ErrorEntry(
        "The next call could take the run over max_usd, in-flight calls counted.",
        "Raise budget.max_usd and run the same command: it resumes.",
    ),
    "price-unknown": ErrorEntry(
        "The price table has no entry for this model.",
        "Add prices to the teacher (usd_per_mtok_in, usd_per_mtok_out), or use a listed model.",
    ),
}


class CogumiError(Exception):
    """A failure with a code from the catalogue; str() gives code, detail, cause and remedy on three lines."""

    exit_code = 1

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def entry(self) -> ErrorEntry:
        return CATALOGUE[self.code]

    def __str__(self) -> str:
        head = f"[{self.code}] {self.detail}" if self.detail else f"[{self.code}]"
        return f"{head}\n  cause:  {self.entry.cause}\n  remedy: {self.entry.remedy}"

    def as_json(self) -> dict[str, str]:
        return {
            "code": self.code,
            "detail": self.detail,
            "cause": self.entry.cause,
            "remedy": self.entry.remedy,
        }


class InputError(CogumiError):
    """Something the user gave cannot be used."""

    exit_code = 2


class StorageError(CogumiError):
    """Disk, database or run folder."""

    exit_code = 3


class RunError(CogumiError):
    """The run cannot go on as asked."""

    exit_code = 4


class Interrupted(RunError):
    """The user ended the run; exit code 130, as shells expect."""

    exit_code = 130


class BudgetError(CogumiError):
    """The hard budget stopped the run."""

    exit_code = 5


class TeacherError(CogumiError):
    """A provider or the wire to it. `cogumi.teachers.wire_errors` says which codes are worth another attempt."""

    exit_code = 6


def storage_error(error: OSError, path: object, needed_bytes: int = 0) -> StorageError:
    """Translate an OSError of a write at `path` into a StorageError naming path and bytes."""
    full = error.errno in (28, 122)  # ENOSPC, EDQUOT
    size = f", {needed_bytes:,} bytes needed" if needed_bytes else ""
    return StorageError("disk-full" if full else "disk-error", f"{path}: {error.strerror or error}{size}")
