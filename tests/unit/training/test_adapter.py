"""Adapters: PEFT reads what we write and gives our logits; what is no Llama of ours is refused by name."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from cogumi.errors import InputError
from cogumi.lm.model import load_chat_tokenizer, load_llama
from cogumi.lm.tokenizer import train_tokenizer
from cogumi.training.adapter import load_adapter, save_adapter
from cogumi.training.algorithms import Algorithm, Inner, MetaWeights
from cogumi.training.body import LlamaBody
from cogumi.training.head import Head, LastLayers, OutputHead
from cogumi.training.lora import ATTENTION, MODULES
from cogumi.training.packing import pack
from tests.unit.training.models import adapter, example, llama

INNER = Inner(Algorithm.ANIL, 3, 1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    llama(torch.float32, layers=2).save_pretrained(folder)
    return folder


def logits(body: LlamaBody, head: Head, weights: MetaWeights, ids: list[int]) -> Tensor:
    packed = pack([example(1)])
    assert packed.ids_N.tolist() == ids
    lora = {**weights.slow, **(weights.head if isinstance(head, LastLayers) else {})}
    h = body.normed(body.run(packed, body.prepared(lora)))
    found = h @ body.vocabulary_VD.T
    if isinstance(head, OutputHead):
        a, b = head.low(weights.head)
        found = found + head.scale * (h @ a.T) @ b.T
    return found


@pytest.mark.parametrize("modules", [MODULES, ATTENTION])
@pytest.mark.parametrize("kind", ["lm_head_lora", "final_hidden", "last_layers", "all"])
def test_peft_reads_it_and_gives_our_logits(base: Path, tmp_path: Path, kind: str, modules: tuple[str, ...]) -> None:
    body, head, weights = adapter(base, kind, modules)
    save_adapter(tmp_path, body, head, weights, INNER, str(base))
    ids = example(1).ids
    ours = logits(body, head, weights, ids)
    theirs = PeftModel.from_pretrained(load_llama(str(base), torch.float32, "cpu"), tmp_path)
    with torch.no_grad():
        found = theirs(input_ids=torch.tensor([ids])).logits[0]
        assert (ours - found).abs().max() <= 1e-5 * found.abs().max()
        plain = load_llama(str(base), torch.float32, "cpu")(input_ids=torch.tensor([ids])).logits[0]
    assert (plain - found).abs().max() > 1e-2 * found.abs().max(), "the adapter does something"


@pytest.mark.parametrize("kind", ["lm_head_lora", "final_hidden", "last_layers"])
def test_what_is_read_back_is_what_was_written(base: Path, tmp_path: Path, kind: str) -> None:
    body, head, weights = adapter(base, kind)
    save_adapter(tmp_path, body, head, weights, INNER, str(base))
    found = load_adapter(tmp_path, body, head)
    for one, other in ((weights.slow, found.slow), (weights.head, found.head), (weights.rates, found.rates)):
        assert one.keys() == other.keys() and all(torch.equal(w, other[n]) for n, w in one.items())
    with pytest.raises(InputError, match="adapter-unreadable"):
        load_adapter(tmp_path, body, OutputHead(body, 5, 9))
    (tmp_path / "meta.safetensors").write_bytes(b"garbage")
    with pytest.raises(InputError, match="adapter-unreadable"):
        load_adapter(tmp_path, body, head)


def test_a_model_with_a_weight_that_is_no_number_is_refused(base: Path, tmp_path: Path) -> None:
    weights = load_file(base / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"model-not-finite.*layers\.1\.mlp\.up_proj"):
        load_llama(str(tmp_path), torch.float32, "cpu")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_type": "gpt2"}, "model-unsupported"),
        ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "model-unsupported"),
        ({"hidden_size": 64}, "model-unreadable"),
        (None, "model-unreadable"),
    ],
)
def test_what_is_no_llama_is_refused(base: Path, tmp_path: Path, change: dict[str, object] | None, code: str) -> None:
    config = {**orjson.loads((base / "config.json").read_bytes()), **(change or {})}
    (tmp_path / "config.json").write_bytes(orjson.dumps(config) if change is not None else b"{")
    (tmp_path / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a repository was run')")
    with pytest.raises(InputError, match=code):
        load_llama(str(tmp_path), torch.float32, "cpu")


def test_weights_that_are_cut_short_are_told(base: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:-1000])
    with pytest.raises(InputError, match="model-unreadable"):
        load_llama(str(tmp_path), torch.float32, "cpu")


def test_a_pickle_is_not_read(base: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    torch.save(load_file(base / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="model-unreadable"):
        load_llama(str(tmp_path), torch.float32, "cpu")


def test_a_hub_id_that_is_not_known_is_refused_without_asking_anybody() -> None:
    with pytest.raises(InputError, match="model-not-allowed"):
        load_llama("somebody/some-llama", torch.float32, "cpu")


def test_a_tokenizer_must_know_chats_and_fit(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["some text to learn from"], 300)
    tokenizer.save(tmp_path)
    assert load_chat_tokenizer(tmp_path, 512).vocab_size == tokenizer.vocab_size
    with pytest.raises(InputError, match="vocabulary-mismatch"):
        load_chat_tokenizer(tmp_path, 100)
    config = orjson.loads((tmp_path / "tokenizer_config.json").read_bytes())
    del config["chat_template"]
    (tmp_path / "tokenizer_config.json").write_bytes(orjson.dumps(config))
    with pytest.raises(InputError, match="chat-template-missing"):
        load_chat_tokenizer(tmp_path, 512)
