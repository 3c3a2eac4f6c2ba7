"""The catalogue, first part: recipes, files, stores, runs and budgets."""

from __future__ import annotations

from cogumi.errors.entry import ErrorEntry

DATA: dict[str, ErrorEntry] = {
    # -- input
    "backup-not-found": ErrorEntry("There is no backup of a ledger at this path.", "Check the path of the backup."),
    "recipe-not-found": ErrorEntry(
        "There is no preset or file of this name.",
        "Name a preset (cogumi run dataset --help lists them) or a path to a YAML file.",
    ),
    "recipe-not-yaml": ErrorEntry("The recipe is not readable YAML.", "Correct the line the message names."),
    "recipe-unknown-key": ErrorEntry(
        "The recipe has a key that no section knows.",
        "Use the suggested key, or remove it. docs/reference/recipe.md lists all.",
    ),
    "recipe-several-faults": ErrorEntry(
        "The recipe has faults of more than one kind: unknown keys, values outside what their keys allow, or unknown "
        "domains.",
        "Correct each line of the message. docs/reference/recipe.md lists all keys.",
    ),
    "recipe-bad-value": ErrorEntry(
        "A value in the recipe is outside what its key allows.", "Correct the value the message names."
    ),
    "recipe-bad-override": ErrorEntry("A --set argument is not KEY=VALUE.", "Write --set section.key=value."),
    "questions-unreadable": ErrorEntry(
        "No usable question was found in the files given.",
        "Give .jsonl files with one object per line that holds 'question', 'domain' and 'difficulty'; "
        "dataset.given.domain and dataset.given.difficulty count for rows without one.",
    ),
    "questions-not-named": ErrorEntry(
        "The questions to compare prompts on are not named, or named twice.",
        "Give --run RUN for those of a finished run, or --questions FILE.",
    ),
    "prompt-unreadable": ErrorEntry(
        "A system prompt to compare cannot be read, is empty, or does not belong to the stage.",
        "Name a UTF-8 text file, or builtin; for hard questions also builtin+guide.",
    ),
    "prompts-same": ErrorEntry("The two prompts to compare are the same text.", "Name two that differ."),
    "price-not-accepted": ErrorEntry(
        "The price was not accepted, so nothing was bought.",
        "Run the same command with --yes, or answer y at a terminal.",
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
    "extra-missing": ErrorEntry(
        "This needs packages that are not part of the core installation.",
        "Install the extra that the message names; in a checkout: pip install -c constraints.txt -e '.[EXTRA]'.",
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
        "Environment variables that should hold API keys are not set.",
        "Export those that the message names, then run the same command again; --rehearse needs none.",
    ),
    "domain-unknown": ErrorEntry(
        "The recipe or the questions name a domain that does not exist.",
        "Use one of the domains that the message lists.",
    ),
    "usage": ErrorEntry(
        "The command has no such option, argument or value.", "Add --help to the command to see what it takes."
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
    "prefect-no-server": ErrorEntry(
        "Prefect's temporary server does not start.",
        "Read temporary-server.log in PREFECT_HOME (~/.prefect); set PREFECT_API_URL to a running server, or add "
        "--no-prefect.",
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
    "permission-denied": ErrorEntry(
        "This user may not read or write there.",
        "Change the permissions of the path that the message names, or name another (--root, --home).",
    ),
    "path-taken": ErrorEntry(
        "A file lies where a folder is needed, or a folder where a file is.",
        "Move it away, or name another path (--root, --home).",
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
        "The recipe or the questions are not those that the run was made by, in what decides its requests, rows or weights.",
        "Use another --run name, or add --change: what is finished moves to replaced/, and what is missing is bought.",
    ),
    "ledger-missing": ErrorEntry(
        "The run's ledger is gone or holds no call: going on would buy every reply again, and no cost could be told.",
        "Restore the ledger: cogumi ledger restore BACKUP --to RUN; or start a new run by another --run name.",
    ),
    "no-rows": ErrorEntry(
        "No question was left after the checks, so that the dataset would be empty; nothing was published.",
        "Look at the reason that the message names first: quarantine.jsonl has rows that could not be read, "
        "generation_log.txt what the judge made of the others.",
    ),
    "cells-short": ErrorEntry(
        "Some (domain, difficulty) cells did not reach their count; nothing was published.",
        "Raise dataset.max_rounds, or lower dataset.judge.pass_mean (with --change), as the reasons in the message "
        "suggest, and run the command with that --set: what was bought is reused. generation_log.txt has every round.",
    ),
    "merge-refused": ErrorEntry(
        "The merged dataset failed a check; nothing was published.",
        "The message names the check and the rows.",
    ),
    "too-many-failures": ErrorEntry(
        "Most calls to a teacher failed, so the run stopped early.",
        "Look at the table of retries by code, mend the cause, run the same command: it resumes.",
    ),
    "comparison-empty": ErrorEntry(
        "No pair of answers could be compared.",
        "Look at the reasons in the message, mend the cause, run the same command: it resumes.",
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
    "port-not-permitted": ErrorEntry(
        "This user may not listen at that port.", "Choose a --port of 1024 or more, or give this user the right to it."
    ),
    "address-unusable": ErrorEntry(
        "Nothing can listen at that address on this machine.", "Name an address of this machine with --host."
    ),
    "site-is-up": ErrorEntry(
        "The server is up with another address or other databases.",
        "Run cogumi down first, then cogumi up with the changes.",
    ),
    "site-missing": ErrorEntry("No server was brought up from this folder.", "Run cogumi up, or name its --home."),
    "run-not-found": ErrorEntry("There is no such run.", "Name a folder under runs/, or start one with cogumi run."),
    "run-interrupted": ErrorEntry(
        "The run was interrupted.", "Run the same command: it resumes, and says what it reuses."
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
