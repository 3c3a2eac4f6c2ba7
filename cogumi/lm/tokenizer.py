"""TrainingTokenizer: the tokenizer that token counts and loss masks come from.

Llama-3.1's own where a path to it is given; for the demo and tests a byte-level BPE with Llama-3's special tokens and
its splitting rule, trained on the generated corpus (Sennrich et al. 2016). Saved in the layout that transformers reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from cogumi.errors import InputError
from cogumi.store.files import write_atomic, write_json

BOS, END_OF_TEXT = "<|begin_of_text|>", "<|end_of_text|>"
START_HEADER, END_HEADER, END_OF_TURN = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
END_OF_MESSAGE = "<|eom_id|>"  # Llama 3.1's, after a call of a tool
PAD = "<|finetune_right_pad_id|>"
SPECIAL_TOKENS = (BOS, END_OF_TEXT, PAD, START_HEADER, END_HEADER, END_OF_TURN)
_NEEDED = (BOS, START_HEADER, END_HEADER, END_OF_TURN)
_SPLIT = (  # Llama-3's pre-tokenization, as published with its tokenizer
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


class TrainingTokenizer:
    """Encodes text as text: a special token's name inside a question is never read as the token."""

    def __init__(self, inner: Tokenizer, source: str) -> None:
        """`source` says where it comes from, for receipts. Raises InputError tokenizer-lacks-specials."""
        ids = {name: inner.token_to_id(name) for name in _NEEDED}
        missing = [name for name, number in ids.items() if number is None]
        if missing:
            raise InputError("tokenizer-lacks-specials", f"{source}: no {', '.join(missing)}")
        inner.no_truncation()
        inner.no_padding()
        inner.encode_special_tokens = True
        self._inner = inner
        self.source = source
        self.bos, self.start_header, self.end_header, self.eot = (int(number or 0) for number in ids.values())

    @property
    def vocab_size(self) -> int:
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def id_of(self, token: str) -> int | None:
        """The id of a token by its name, or None where there is none."""
        found = self._inner.token_to_id(token)
        return None if found is None else int(found)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without any special token."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """As `encode`, for many texts at once and on all cores."""
        return [list(encoding.ids) for encoding in self._inner.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, special tokens shown by name."""
        return str(self._inner.decode(ids, skip_special_tokens=False))

    def save(self, folder: Path) -> None:
        """tokenizer.json and tokenizer_config.json, as `AutoTokenizer.from_pretrained` reads them."""
        self._inner.encode_special_tokens = False
        write_atomic(folder / "tokenizer.json", self._inner.to_str(pretty=False).encode())
        self._inner.encode_special_tokens = True
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": END_OF_TURN,
            "pad_token": PAD,
            "model_max_length": 131072,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        }
        write_json(folder / "tokenizer_config.json", config)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> TrainingTokenizer:
    """A byte-level BPE of at most `vocab_size` tokens, special ones included; the same texts give the same one."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    return TrainingTokenizer(inner, "trained on this dataset")


def load_tokenizer(path: Path) -> TrainingTokenizer:
    """The tokenizer in a folder or file. Raises InputError tokenizer-unreadable, tokenizer-lacks-specials."""
    return TrainingTokenizer(read_tokenizer(path), str(path))


def read_tokenizer(path: Path) -> Tokenizer:
    """As it stands in a folder or file, whatever its kind. Raises InputError tokenizer-unreadable."""
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        return Tokenizer.from_str(file.read_text("utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises it plain for whatever it cannot read
        raise InputError("tokenizer-unreadable", f"{file}: {error}") from None
