"""The base model of a run: trained on its dataset, published as an artifact in the layout that transformers reads.

figures = make_base(recipe, folder, DatasetInput(Path("runs/demo/dataset"), "demo@v0001"), device)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from cogumi.errors import RunError
from cogumi.lm.chat import FORMATS
from cogumi.lm.device import Device
from cogumi.lm.model import generation_config
from cogumi.lm.tokenizer import TrainingTokenizer, load_tokenizer
from cogumi.phases import report_phase
from cogumi.recipe import BaseSection, DraftSection, Recipe, content_hash, hash_all
from cogumi.recipe.changes import NOT_CONTENT
from cogumi.store.artifacts import held_metrics, new_artifact, verify
from cogumi.store.files import sha256_of
from cogumi.store.run_folder import RunFolder
from cogumi.training.claim import section_of
from cogumi.training.corpus import Corpus, read_corpus, text_files, unigram_nll
from cogumi.training.fitting import Fitted, Step
from cogumi.training.metrics import METRICS, MetricsFile
from cogumi.training.plan import split_by_recipe, split_inputs
from cogumi.training.pretrain import Schedule, new_llama, pretrain, validation_nll
from cogumi.training.stopping import Stop
from cogumi.training.tensor_file import disk_errors

STAGE = "pretrain_base"
ARTIFACT = "base"
READ = ("train.jsonl", "validation.jsonl", "tokenizer/tokenizer.json")  # of the dataset
_ROUND_VOCAB = 64  # tensor cores like it
Watch = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset artifact on this machine, and the id it goes by (NAME@vNNNN, or the run's name)."""

    folder: Path
    artifact_id: str


def make_base(
    recipe: Recipe,
    folder: RunFolder,
    data: DatasetInput,
    device: Device,
    watch: Watch = lambda step: None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Train, or go on training, and publish; returns the stage's figures. A model that is there already is taken.

    Raises InputError stage-not-in-recipe, corpus-unreadable, corpus-too-small, tokenizer-unreadable; RunError
    loss-not-finite, run-stopped; StorageError artifact-damaged, disk-full, disk-error.
    """
    section = section_of(recipe)
    report_phase("hashes of rows and texts")
    hashes = {name: entry["sha256"] for name, entry in verify(data.folder)["files"].items()}
    texts = text_files([Path(text) for text in section.texts], section.texts_mb)
    inputs = _inputs(recipe, hashes, texts)
    held = held_metrics(folder.path / ARTIFACT, inputs)
    if held is not None:
        return held
    report_phase("corpus")
    tokenizer = load_tokenizer(data.folder / "tokenizer")
    apart = _kept_apart(recipe, data.folder, tokenizer)
    corpus = read_corpus(data.folder, texts, tokenizer, FORMATS[recipe.dataset.chat_format], apart)
    checkpoints = folder.path / "checkpoints" / f"{ARTIFACT}-{inputs}"
    told_section = section.model_dump(mode="json")
    with new_artifact(folder.path / ARTIFACT, STAGE, inputs, told_section, recipe.seed) as draft:
        model = new_llama(llama_config(section, tokenizer), recipe.seed)
        torch.nn.Module.to(model, device.torch_name)
        report_phase("evaluation before training")
        first = validation_nll(model, corpus.validation, section.seq_length, device.torch_name)
        with MetricsFile(checkpoints / METRICS) as metrics:

            def told(step: Step) -> None:
                metrics.add(step)
                watch(step)

            schedule = schedule_of(section, recipe.seed)
            done = pretrain(model, corpus, schedule, device.torch_name, checkpoints, told, stop)
        if not done.finished:
            raise RunError("run-stopped", f"{folder.name}: base, step {done.step} of {section.steps}")
        report_phase("evaluation after training")
        figures = _figures(model, corpus, section, done, device)
        figures |= {"dataset": data.artifact_id, "nll_first": first, "rows_apart": len(apart)}
        report_phase("writing the model")
        write_model(model.cpu(), tokenizer, draft.path)
        shutil.copyfile(checkpoints / METRICS, draft.path / METRICS)
        draft.metrics |= figures
    shutil.rmtree(checkpoints, ignore_errors=True)
    return draft.metrics


def llama_config(section: BaseSection, tokenizer: TrainingTokenizer) -> LlamaConfig:
    """Of a base: the vocabulary is rounded up to a multiple of 64."""
    words = -(-tokenizer.vocab_size // _ROUND_VOCAB) * _ROUND_VOCAB
    return shaped(section, words, max(2048, section.seq_length), tokenizer)


def shaped(
    section: BaseSection | DraftSection, words: int, positions: int, tokenizer: TrainingTokenizer
) -> LlamaConfig:
    """A section's shape as transformers names it; one matrix for embedding and output."""
    return LlamaConfig(
        vocab_size=words,
        hidden_size=section.hidden_size,
        intermediate_size=section.intermediate_size,
        num_hidden_layers=section.layers,
        num_attention_heads=section.heads,
        num_key_value_heads=section.kv_heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos,
        eos_token_id=tokenizer.eot,
    )


def schedule_of(section: BaseSection, seed: int) -> Schedule:
    return Schedule(
        steps=section.steps,
        batch_windows=section.batch_windows,
        seq_length=section.seq_length,
        learning_rate=section.learning_rate,
        warmup_steps=section.warmup_steps,
        weight_decay=section.weight_decay,
        save_every=section.save_every,
        seed=seed,
    )


def _figures(
    model: LlamaForCausalLM, corpus: Corpus, section: BaseSection, done: Fitted, device: Device
) -> dict[str, Any]:
    """`nll_unigram` is the control: a model that does not beat it has learned nothing of context."""
    last = validation_nll(model, corpus.validation, section.seq_length, device.torch_name)
    control = unigram_nll(corpus, int(model.config.vocab_size))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "documents": corpus.documents,
        "tokens": len(corpus.train),
        "steps": done.step,
        "resumed_from": done.resumed_from,
        "damaged_checkpoints": done.passed_over,
        "nll_last": last,
        "nll_unigram": control,
        "learned": last < control,
        "tokens_per_s": round(done.tokens_per_s, 1),
        "seconds": round(done.seconds, 2),
        "device": device.to_json(),
        "torch": str(torch.__version__),
    }


def write_model(model: LlamaForCausalLM, tokenizer: TrainingTokenizer, folder: Path) -> None:
    """As transformers reads it, with tokenizer and every token that ends a turn. Raises OSError."""
    model.generation_config = generation_config(tokenizer)
    disable_progress_bar()
    with disk_errors():
        model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # it is made for its owner alone
    tokenizer.save(folder)


def _kept_apart(recipe: Recipe, dataset: Path, tokenizer: TrainingTokenizer) -> frozenset[str]:
    """The questions that are to be new to this base when adapters are trained and judged on it."""
    if recipe.train is None or recipe.train.base:
        return frozenset()
    return split_by_recipe(recipe, dataset, tokenizer).apart


def _inputs(recipe: Recipe, hashes: dict[str, str], texts: list[Path]) -> str:
    """What the model is a function of: section, seed, chat format, and every byte of the dataset's rows and texts.

    `hashes` are those of the dataset's files, by name.
    """
    read = {name: hashes[name] for name in READ if name in hashes}
    more = hash_all(sha256_of(file) for file in texts)
    section = section_of(recipe).model_dump(mode="json", exclude={"texts", "texts_mb", *NOT_CONTENT["base"]})
    found = [section, recipe.seed, recipe.dataset.chat_format, read, more]
    if recipe.train is not None and not recipe.train.base:  # its held-out tasks are kept from the base
        found.append(split_inputs(recipe))
    return content_hash(found)
