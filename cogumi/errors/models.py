"""The catalogue, second part: models, training, and the cards they run on."""

from __future__ import annotations

from cogumi.errors.entry import ErrorEntry

MODELS: dict[str, ErrorEntry] = {
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
    "gpus-too-few": ErrorEntry(
        "The machine has fewer cards than train.processes asks for.",
        "Lower train.processes, or use a machine with more of them.",
    ),
    "processes-differ": ErrorEntry(
        "Two processes of a team hold different weights: one of them has computed something else.",
        "Run the same command: it goes on from the last checkpoint. If it comes again, look for a faulty card.",
    ),
    "processes-died": ErrorEntry(
        "A process of the team ended without saying why.",
        "Read the end of team.log in the run's folder; the same command goes on from the last checkpoint.",
    ),
    "model-unsupported": ErrorEntry(
        "The model is not of Llama's architecture as this version trains it.",
        "Use a Llama without biases (Llama 2 to 3.2, TinyLlama, or a base model of this program); a draft may be a Qwen2 too.",
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
    "adaptation-bad-input": ErrorEntry(
        "There are too few examples or steps to adapt by.",
        "Give two examples or more (one is left out at a time) and at least one step.",
    ),
    "examples-unreadable": ErrorEntry(
        "The examples cannot be used as they are.",
        "Write JSON lines with prompt and response, each within the model's context; see docs/how-to/adapt.md.",
    ),
    "lora-bad-shape": ErrorEntry(
        "The LoRA section names modules that a Llama layer does not have.",
        "Choose among q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.",
    ),
    "example-too-long": ErrorEntry(
        "Rows are longer than the recipe's max_seq_length.",
        "Raise max_seq_length of train or draft, or set train.too_long to drop, which leaves such rows out.",
    ),
    "domain-empty": ErrorEntry(
        "A domain has no task with enough rows for an episode.",
        "Make more rows of it, lower train.support and train.query, or name the others in train.domains.",
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
        "Lower train.learning_rate or the inner rate, and look at the steps after the last good one in meta.jsonl.",
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
    "tokenizer-of-another-kind": ErrorEntry(
        "The draft's vocabulary cannot be replaced by the target's: a tokenizer is neither byte-level BPE nor SentencePiece's BPE.",
        "Name a Llama, a TinyLlama or a Qwen2.5 in draft.model, or leave it empty to make a draft from scratch.",
    ),
    "run-without-merged": ErrorEntry(
        "The run has an adapter that is not folded into its base yet, and the draft's target is the two together.",
        "cogumi merge --run RUN first.",
    ),
    "run-without-base": ErrorEntry(
        "The run's folder holds no base model.",
        "Make one with cogumi run base, name a published one with --base NAME@VERSION, or any Llama with train.base.",
    ),
    "phase-failed": ErrorEntry(
        "A phase of the pipeline failed or was cancelled on its work pool.",
        "Open its flow run, mend what its message says, and run the pipeline again: finished phases are reused.",
    ),
    "phase-crashed": ErrorEntry(
        "The process of a phase went away on its work pool.",
        "Run the pipeline again: the phase goes on from its last checkpoint.",
    ),
    "nothing-to-push": ErrorEntry(
        "The folder is no artifact: it has no receipt.", "Name one of a run: runs/NAME/merged, adapter, draft or base."
    ),
    "hub-name-refused": ErrorEntry(
        "A repository is named OWNER/NAME, of letters, digits, dots, dashes and underscores.", "Correct --to."
    ),
    "hub-token-missing": ErrorEntry(
        "There is no token for the hub.", "Set HF_TOKEN to one that may write, or log in with the hub's own command."
    ),
    "hub-repository-public": ErrorEntry(
        "The repository is there already and anybody can read it, and --public was not given.",
        "Make it private on the hub, name another, or give --public.",
    ),
    "hub-refused": ErrorEntry(
        "The hub does not take it.", "Check that the token may write to this owner's repositories; run it again."
    ),
    "hub-unreachable": ErrorEntry(
        "The hub does not answer.",
        "Check the network and HF_ENDPOINT; run it again: what has arrived is not sent twice.",
    ),
    "hub-differs": ErrorEntry(
        "A file on the hub is not the one that was sent.", "Run it again; if it stays, do not use that commit."
    ),
    "adapter-not-named": ErrorEntry(
        "It is not said which adapter is meant.",
        "Name a run by --run, or a folder and its base by --adapter and --base.",
    ),
    "place-taken": ErrorEntry(
        "The folder to write is there, and holds something else.", "Name another by --out; nothing is overwritten."
    ),
    "merge-differs": ErrorEntry(
        "The merged model is not base and adapter: a tensor or an output differs by more than rounding.",
        "Merge again from untouched folders; if it stays, report it with the tensors that are named.",
    ),
    "adaptation-no-gain": ErrorEntry(
        "The examples do not help each other: left out in turn, their loss does not fall.",
        "Give more examples, or ones of a single task; --force adapts all the same.",
    ),
    "adaptation-in-use": ErrorEntry(
        "The model answers with another adaptation already, and two would add up.",
        "Leave the block of the first one, or load the model twice.",
    ),
}
