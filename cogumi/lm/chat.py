"""Chat: a question and its answer as Llama-3.1 tokens, with the mask that says where the loss is.

    <|begin_of_text|><|start_header_id|>user<|end_header_id|>

    QUESTION<|eot_id|><|start_header_id|>assistant<|end_header_id|>

    RESPONSE<|eot_id|>

The template is Meta's, without its system block. The first token is the only <|begin_of_text|>. The loss is on the
response alone (spec section 1.12); whether it is on the last <|eot_id|> too is a choice: the specification says no, but
a model that is never trained on it does not learn to stop.
"""

from __future__ import annotations

from dataclasses import dataclass

from cogumi.lm.tokenizer import TrainingTokenizer


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How answers become text and mask.

    `response_tags` puts easy answers into <response> tags; hard ones always have sections. `train_eot`: loss on the
    last <|eot_id|>.
    """

    response_tags: bool = False
    train_eot: bool = True


PLAIN = ChatFormat()
"""Ours: plain easy answers, and the model learns to stop."""
SPEC = ChatFormat(response_tags=True, train_eot=False)
"""Spec section 1.12: <response> tags everywhere, no loss on the last <|eot_id|>."""
FORMATS = {"plain": PLAIN, "spec": SPEC}


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids and, of the same length, 1 where the loss is and 0 elsewhere."""

    ids: list[int]
    mask: list[int]


def response_text(response: str, draft: str | None, thinking: str | None, form: ChatFormat) -> str:
    """What the assistant says: plain, or in sections where there was a draft.

    A draft without thinking, or the reverse, is refused with ValueError: such a row is broken.
    """
    if (draft is None) != (thinking is None):
        raise ValueError("a row has a draft without thinking, or thinking without a draft")
    if draft is not None:
        return f"<draft>{draft}</draft>\n<thinking>{thinking}</thinking>\n<response>{response}</response>"
    return f"<response>{response}</response>" if form.response_tags else response


def encode_example(tokenizer: TrainingTokenizer, question: str, answer: str, form: ChatFormat = PLAIN) -> Encoded:
    """One question and what the assistant says to it (see `response_text`)."""
    (encoded,) = encode_examples(tokenizer, [(question, answer)], form)
    return encoded


def encode_examples(
    tokenizer: TrainingTokenizer, pairs: list[tuple[str, str]], form: ChatFormat = PLAIN
) -> list[Encoded]:
    """As `encode_example`, for many pairs at once. Surrounding space is trimmed, as the template does."""
    texts = [part for question, answer in pairs for part in (question.strip(), answer.strip())]
    parts = tokenizer.encode_many(texts)
    user, assistant = _header(tokenizer, "user"), _header(tokenizer, "assistant")
    made = []
    for question, answer in zip(parts[0::2], parts[1::2], strict=True):
        prompt = [tokenizer.bos, *user, *question, tokenizer.eot, *assistant]
        ids = [*prompt, *answer, tokenizer.eot]
        mask = [0] * len(prompt) + [1] * len(answer) + [int(form.train_eot)]
        made.append(Encoded(ids, mask))
    return made


def _header(tokenizer: TrainingTokenizer, role: str) -> list[int]:
    return [tokenizer.start_header, *tokenizer.encode(role), tokenizer.end_header, *tokenizer.encode("\n\n")]
