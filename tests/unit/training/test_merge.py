"""Merging: base and adapter and nothing else, in one folder; whatever else is in it is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from cogumi.errors import InputError, RunError
from cogumi.lm.model import generation_config, load_llama
from cogumi.lm.tokenizer import load_tokenizer, train_tokenizer
from cogumi.training.adapter import save_adapter
from cogumi.training.algorithms import Algorithm, Inner
from cogumi.training.merge import merge
from cogumi.training.merge_check import Distance, check_outputs, check_weights, distance
from tests.unit.training.models import adapter as new_adapter
from tests.unit.training.models import example, llama

HEADS = ["lm_head_lora", "final_hidden", "last_layers"]
ROWS = [example(number) for number in range(60, 68)]
Folders = tuple[Path, Path, Path]
Make = Callable[..., Folders]
NAMES = ("base", "adapter", "merged")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder with base, adapter and what `merge` makes of them; each kind once."""

    @cache
    def of(kind: str, dtype: torch.dtype, tied: bool, shards: str) -> Path:
        folder = tmp_path_factory.mktemp("made")
        base, adapter, merged = (folder / name for name in NAMES)
        model = llama(torch.float32, layers=2)
        if tied:
            model.config.tie_word_embeddings = True
            model.tie_weights()
        model.to(dtype).save_pretrained(base, max_shard_size=shards)
        train_tokenizer(["some text to learn from"], 280).save(base)
        body, head, weights = new_adapter(base, kind)
        save_adapter(adapter, body, head, weights, Inner(Algorithm.ANIL, 3, 1.0), "run/base")
        merge(base, adapter, merged)
        return folder

    return of


@pytest.fixture
def folders(tmp_path: Path, made: Callable[..., Path]) -> Make:
    """The same as a copy that may be damaged."""

    def of(kind: str, dtype: torch.dtype = torch.float32, tied: bool = False, shards: str = "50GB") -> Folders:
        shutil.copytree(made(kind, dtype, tied, shards), tmp_path, dirs_exist_ok=True)
        base, adapter, merged = (tmp_path / name for name in NAMES)
        return base, adapter, merged

    return of


@pytest.mark.parametrize("tied", [False, True], ids=["two-matrices", "tied"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", HEADS)
def test_a_merged_model_is_base_and_adapter(folders: Make, kind: str, dtype: torch.dtype, tied: bool) -> None:
    base, adapter, merged = folders(kind, dtype, tied)
    weights = check_weights(base, adapter, merged)
    assert weights.targets == 14 + (kind != "last_layers")
    assert 0 <= weights.max_rel_err < torch.finfo(dtype).eps
    outputs = check_outputs(base, adapter, merged, ROWS, "cpu")
    assert outputs.exact <= 1e-5 and outputs.stored.kl <= 2 * outputs.unmerged.kl + torch.finfo(dtype).eps
    plain = AutoModelForCausalLM.from_pretrained(merged, dtype=dtype)
    theirs = PeftModel.from_pretrained(load_llama(str(base), dtype, "cpu"), adapter)
    ids = torch.tensor([ROWS[0].ids])
    with torch.no_grad():
        found, expected = plain(input_ids=ids).logits.float(), theirs(input_ids=ids).logits.float()
    assert (found - expected).norm() <= 8 * torch.finfo(dtype).eps * expected.norm()
    shared = plain.lm_head.weight.data_ptr() == plain.model.embed_tokens.weight.data_ptr()
    assert shared is (tied and kind == "last_layers")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", HEADS)
def test_what_was_trained_in_bf16_merges_as_exactly(
    folders: Make, tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    """As on a GPU. A base stored in fp32 that is folded as the body holds it, in bf16, is told apart."""
    base, _, _ = folders(kind, dtype)
    body, head, weights = new_adapter(base, kind, arithmetic=torch.bfloat16)
    inner = Inner(Algorithm.ANIL, 3, 1.0)
    save_adapter(tmp_path / "exact", body, head, weights, inner, "run/base", stored_in=base)
    merge(base, tmp_path / "exact", tmp_path / "one")
    assert check_outputs(base, tmp_path / "exact", tmp_path / "one", ROWS, "cpu").exact <= 1e-5
    if kind == "final_hidden" and dtype is torch.float32:
        save_adapter(tmp_path / "rounded", body, head, weights, inner, "run/base")
        merge(base, tmp_path / "rounded", tmp_path / "two")
        with pytest.raises(RunError, match=r"merge-differs.*in fp32"):
            check_outputs(base, tmp_path / "rounded", tmp_path / "two", ROWS, "cpu")


def test_the_folder_is_complete_by_itself(folders: Make) -> None:
    _, _, merged = folders("final_hidden", torch.bfloat16, tied=True)
    tokenizer = AutoTokenizer.from_pretrained(merged)
    assert tokenizer.chat_template
    generation = GenerationConfig.from_pretrained(merged)
    ends = [tokenizer.convert_tokens_to_ids(name) for name in ("<|eot_id|>", "<|end_of_text|>")]
    assert generation.eos_token_id == ends, "every token that ends a turn"
    config = orjson.loads((merged / "config.json").read_bytes())
    assert config["dtype"] == "bfloat16" and config["tie_word_embeddings"] is False


def test_a_tokenizer_that_ends_messages_too_has_three_ends(tmp_path: Path) -> None:
    """As Llama 3.1's: after a call of a tool."""
    train_tokenizer(["some text to learn from"], 280).save(tmp_path)
    inner = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    inner.add_special_tokens(["<|eom_id|>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    ends = [inner.token_to_id(name) for name in ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>")]
    assert generation_config(load_tokenizer(tmp_path)).eos_token_id == ends and None not in ends


def test_many_files_are_one_model(folders: Make) -> None:
    base, adapter, merged = folders("lm_head_lora", shards="20KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    assert check_weights(base, adapter, merged).untouched == 6


def turned(name: str, how: Callable[[Tensor], Tensor | None]) -> Callable[[Folders], None]:
    """Damage one tensor of the merged model; None takes it out."""

    def damage(of: Folders) -> None:
        file = of[2] / "model.safetensors"
        tensors = load_file(file)
        found = how(tensors.pop(name))
        tensors |= {name: found} if found is not None else {}
        save_file(tensors, file, metadata={"format": "pt"})

    return damage


def by_a_bit(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16).view(-1)[5] ^= 1
    return tensor


def scaled(of: Folders) -> None:
    """As if alpha had been read wrong: the adapter is another one afterwards."""
    config = orjson.loads((of[1] / "adapter_config.json").read_bytes())
    config["lora_alpha"] += 1
    (of[1] / "adapter_config.json").write_bytes(orjson.dumps(config))


def unmerged(of: Folders) -> None:
    shutil.copyfile(of[0] / "model.safetensors", of[2] / "model.safetensors")


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (turned("model.norm.weight", by_a_bit), "model.norm.weight: not the base's"),
        (turned("model.embed_tokens.weight", by_a_bit), "model.embed_tokens.weight: not the base's"),
        (turned(UP, lambda tensor: tensor * 1.02), f"{UP}: off by"),
        (turned(UP, lambda tensor: torch.full_like(tensor, float("nan"))), f"{UP}: off by up to nan"),
        (turned("model.norm.weight", lambda tensor: None), "model.norm.weight: in one of both only"),
        (scaled, "q_proj.weight: off by"),
        (unmerged, "lm_head.weight: off by"),
    ],
    ids=["norm-bit", "embedding-bit", "target", "nan", "missing", "scale", "unmerged"],
)
def test_whatever_differs_is_named(
    folders: Make, damage: Callable[[Folders], None], told: str, dtype: torch.dtype
) -> None:
    of = folders("lm_head_lora", dtype)
    damage(of)
    with pytest.raises(RunError, match="merge-differs") as found:
        check_weights(*of)
    assert told in found.value.detail or "more" in found.value.detail


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_alone_tell_a_model_that_is_another(folders: Make, dtype: torch.dtype) -> None:
    of = folders("lm_head_lora", dtype)
    turned(UP, lambda tensor: tensor * 1.3)(of)
    with pytest.raises(RunError, match="merge-differs"):
        check_outputs(*of, ROWS, "cpu")


def test_the_distance_is_that_of_the_formulas() -> None:
    chance = torch.Generator().manual_seed(0)
    one, other = (torch.randn(6, 11, generator=chance) for _ in range(2))
    targets = torch.arange(6)
    found = distance(one, other, targets)
    p, q = one.double().softmax(-1), other.double().softmax(-1)
    kl = sum(float(p[r, v] * (p[r, v] / q[r, v]).log()) for r in range(6) for v in range(11)) / 6
    nll = sum(abs(float(p[r, r].log() - q[r, r].log())) for r in range(6)) / 6
    differ = sum(int(one[r].argmax() != other[r].argmax()) for r in range(6)) / 6
    assert found.kl == pytest.approx(kl) and found.nll == pytest.approx(nll) and found.argmax == pytest.approx(differ)
    assert distance(one, one, targets) == Distance(0.0, 0.0, 0.0, 6)
    assert not found.within(Distance(0.0, 0.0, 0.0, 6), 1e-3) and found.within(found, 0.0)


@pytest.mark.parametrize("damage", ["gone", "garbage"])
def test_an_adapter_or_model_that_cannot_be_read_is_told(tmp_path: Path, folders: Make, damage: str) -> None:
    base, adapter, merged = folders("lm_head_lora")
    for folder, name, code in (
        (adapter, "adapter_config.json", "adapter-unreadable"),
        (adapter, "adapter_model.safetensors", "adapter-unreadable"),
        (merged, "model.safetensors", "model-unreadable"),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).unlink() if damage == "gone" else (folder / name).write_bytes(b"x")
        with pytest.raises(InputError, match=code):
            check_weights(base, adapter, merged)
        if folder is adapter:
            with pytest.raises(InputError, match=code):
                merge(base, adapter, tmp_path / "again")
        (folder / name).write_bytes(kept)
