"""The sections of a recipe: every key with its type, bounds, default and consequence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cogumi.recipe.section import Domain, Section, Seed, Share, WrittenDomain
from cogumi.recipe.teacher_names import unknown_teachers
from cogumi.recipe.training import BaseSection, DraftSection, TrainSection
from cogumi.recipe.validation import ValidationSection

Count = Annotated[int, Field(ge=0, le=10_000_000)]
Delivery = Literal["sync", "batch", "auto"]


class BatchSection(Section):
    """How a teacher's batch API is used; the defaults are OpenAI's documented limits (50,000 requests, 200 MB)."""

    max_requests: int = Field(50_000, ge=1, le=100_000, description="requests of one batch")
    max_mb: float = Field(200, gt=0, le=256, description="size of one batch file, in MB of 10^6 bytes")
    max_enqueued_tokens: int | None = Field(
        None, gt=0, description="prompt tokens in all open batches; None means no limit of the account is known"
    )
    open_batches: int = Field(20, ge=1, le=500, description="batches open at once")
    gather_s: float = Field(1.0, gt=0, le=60, description="a batch is sent this long after the last request joined it")
    poll_s: float = Field(30, gt=0, le=3600, description="seconds between looks at an open batch")
    window_h: float = Field(24, gt=0, le=48, description="hours after which the provider lets a batch expire")
    price_share: Share = Field(0.5, description="price of a batched call as a share of the plain one")


class TeacherSection(Section):
    """One LLM endpoint. Model ids are values of the recipe, never code."""

    wire: Literal["openai", "anthropic", "procedural"] = Field(
        description="wire format; procedural answers in process, without network or key"
    )
    provider: str = Field("", description="label in ledger, prices and request keys; empty means the wire's name")
    model: str = Field(description="the provider's model id")
    base_url: str = Field(
        "", description="API root, with /v1 for openai; 'loopback' starts the embedded provider for this run"
    )
    api_key_env: str = Field("", description="name of the environment variable that holds the key; empty sends none")
    allow_loopback_http: bool = Field(False, description="accept http:// on a loopback address")
    rpm: float | None = Field(None, gt=0, description="requests a minute; None means what the provider's headers say")
    tpm: float | None = Field(None, gt=0, description="tokens a minute, prompt and completion; None as for rpm")
    in_flight: int = Field(32, ge=1, le=2000, description="requests open at once")
    timeout_s: float = Field(120, gt=0, description="deadline of one attempt, first byte to last")
    max_attempts: int = Field(3, ge=1, le=10, description="attempts a request, rate limits not counted")
    backoff_s: list[float] = Field(
        [2, 4, 8], min_length=1, description="wait before attempt 2, 3, 4 ...; the last value repeats"
    )
    batch: BatchSection | None = Field(None, description="the provider's batch API; None where it has none")
    usd_per_mtok_in: float | None = Field(None, ge=0, description="overrides the price table")
    usd_per_mtok_out: float | None = Field(None, ge=0, description="overrides the price table")
    training_allowed: Literal["yes", "no", "unknown"] = Field(
        "unknown", description="whether the provider's terms allow training on outputs"
    )

    @property
    def label(self) -> str:
        return self.provider or self.wire


class StageSection(Section):
    """What every stage of calls has in common."""

    teacher: str = Field(description="key under teachers")
    delivery: Delivery = Field(
        "sync", description="one call each, the batch API at its price, or what is cheapest within deadline_h"
    )


class QuestionsSection(StageSection):
    """Stage 1: questions, ten a call by default (spec section 1.1)."""

    teacher_by_domain: dict[Domain, str] = Field(default_factory=dict, description="other teachers for some domains")
    per_call: int = Field(10, ge=1, le=100, description="questions asked for in one call")
    max_tokens: int = Field(4096, ge=64, description="completion tokens a call")
    temperature: float | None = Field(
        0.7, ge=0, le=2, description="None sends none, as current Anthropic models require"
    )


class JudgeSection(StageSection):
    """Stage 2: four scores a question, pass at mean >= pass_mean (spec section 1.2)."""

    per_call: int = Field(10, ge=1, le=100, description="questions judged in one call, hidden ones included")
    workers: int = Field(10, ge=1, le=200, description="judge calls open at once")
    pass_mean: float = Field(7.0, ge=0, le=10, description="mean of the four scores needed to pass")
    hidden_share: Share = Field(
        0.1, description="share of each call that is known-good or known-bad, to measure the judge"
    )
    classify: bool = Field(
        True, description="ask in the same reply what kind of task each question is, and filter harmful ones"
    )
    max_tokens: int = Field(4096, ge=64, description="completion tokens a call")
    temperature: float | None = Field(0.0, ge=0, le=2, description="None sends none")


class AnswersSection(StageSection):
    """Stage 3: one call an answer."""

    workers: int = Field(10, ge=1, le=500, description="answer calls open at once")
    max_tokens: int = Field(
        500, ge=16, description="completion tokens; a truncated reply is asked again with twice as many"
    )
    max_tokens_cap: int = Field(8192, ge=16, description="a reply still truncated here counts as rejected")
    temperature: float | None = Field(0.7, ge=0, le=2, description="None sends none")
    tries: int = Field(3, ge=1, le=10, description="replies bought for one question before the question is replaced")
    guide: bool = Field(False, description="a long guide goes before the instructions of a hard question")
    cache: Literal["off", "5m", "1h"] = Field(
        "off", description="prompt caching: how long the provider keeps the guide; off: each call pays for all of it"
    )


class NearDuplicatesSection(Section):
    """Rows with similar text and the same numbers and answer: the first is kept, the others are replaced."""

    remove: bool = Field(True, description="look for near-duplicates and replace them")
    threshold: float = Field(0.8, gt=0.5, le=1, description="Jaccard similarity of character 5-grams that counts")
    against: list[str] = Field(
        default_factory=list, description="folders of datasets published before: their rows count as taken"
    )


class AugmentSection(Section):
    """Questions of a public dataset that fill part of a cell (spec: CommonsenseQA, PIQA, XSum)."""

    source: Literal["commonsenseqa", "piqa", "xsum", "reasoning_gym_math", "reasoning_gym_reasoning"] = Field(
        description="which dataset, and so which cell; those of Reasoning Gym are generated (extra: gym) and verified"
    )
    rows: int = Field(ge=1, le=1_000_000, description="questions to take")
    path: str | None = Field(None, description="a local .json or .jsonl file, as the dataset is distributed")
    hub: str | None = Field(None, description="a hub id, read through the datasets library (extra: train)")
    revision: str | None = Field(None, description="commit of the hub dataset; needed, so that a re-run reads the same")
    split: str = Field("train", description="split of the hub dataset")

    @model_validator(mode="after")
    def _one_place(self) -> AugmentSection:
        if self.source.startswith("reasoning_gym"):
            if self.path is not None or self.hub is not None:
                raise ValueError("reasoning_gym rows are generated: give neither path nor hub")
        elif (self.path is None) == (self.hub is None):
            raise ValueError("give either path or hub")
        if self.hub is not None and self.revision is None:
            raise ValueError("a hub dataset needs its revision, a commit hash")
        return self


class BalanceSection(Section):
    """Existing questions (--questions) are balanced before they are judged; generated ones are exact anyway."""

    to_cells: bool = Field(False, description="at most as many rows as the recipe's cells hold; report what is missing")
    max_question_tokens_per_domain: int | None = Field(
        None, gt=0, description="cap on the tokens of one domain's questions, by a tokenizer trained on all of them"
    )


class GivenSection(Section):
    """Existing questions (--questions): what a row belongs to that does not say so itself; None quarantines it."""

    domain: WrittenDomain | None = Field(None, description="domain of rows without one")
    difficulty: Literal["easy", "hard"] | None = Field(None, description="difficulty of rows without one")


class TokenizerSection(Section):
    """The training tokenizer, for token counts and masks."""

    path: str | None = Field(
        None, description="folder or tokenizer.json of the model to be trained; None trains one on the dataset"
    )
    vocab_size: int = Field(4096, ge=300, le=200_000, description="tokens of one that is trained here")


class SplitSection(Section):
    """Shares held out, by groups of near-duplicates, so that none of them lies on both sides."""

    validation: Share = Field(0.05, description="share of rows held out for validation")
    test: Share = Field(0.05, description="share of rows held out for tests")


class DatasetSection(Section):
    """Phase 1: exact counts per (domain, difficulty) cell."""

    cells: dict[Domain, dict[Literal["easy", "hard"], Count]] = Field(description="rows per domain and difficulty")
    questions: QuestionsSection = Field(description="stage 1")
    judge: JudgeSection = Field(description="stage 2")
    answers_easy: AnswersSection = Field(description="stage 3, easy questions")
    answers_hard: AnswersSection = Field(description="stage 3, hard questions")
    augment: list[AugmentSection] = Field(default_factory=list, description="public datasets that fill part of a cell")
    given: GivenSection = Field(GivenSection(), description="existing questions only")
    balance: BalanceSection = Field(BalanceSection(), description="existing questions only")
    near_duplicates: NearDuplicatesSection = Field(NearDuplicatesSection(), description="deduplication")
    tokenizer: TokenizerSection = Field(TokenizerSection(), description="token counts")
    chat_format: Literal["plain", "spec"] = Field(
        "plain",
        description="plain: easy answers without tags, loss on the last eot; spec: <response> tags, no loss on it",
    )
    split: SplitSection = Field(SplitSection(), description="train, validation and test")
    deadline_h: float | None = Field(
        None, gt=0, description="hours within which auto delivery must be done; None lets it take the cheapest way"
    )
    shard_rows: int = Field(1000, ge=10, le=5000, description="rows of one Prefect task")
    max_rounds: int = Field(40, ge=1, description="rounds of asking before a cell is given up")
    checkpoint_rows: int = Field(1000, ge=10, description="rows between questions_checkpoint_*.jsonl exports")

    @property
    def stages(self) -> dict[str, StageSection]:
        """The stages that call teachers, in their order."""
        return {
            "questions": self.questions,
            "judge": self.judge,
            "answers_easy": self.answers_easy,
            "answers_hard": self.answers_hard,
        }

    @property
    def rows(self) -> int:
        return sum(sum(counts.values()) for counts in self.cells.values())


class BudgetSection(Section):
    """The contract with money."""

    max_usd: float | None = Field(None, ge=0, description="hard stop, in-flight calls counted; None means no limit")


class LoopbackSection(Section):
    """The embedded provider, started where a teacher's base_url is 'loopback'. A rehearsal: it bills nobody."""

    latency_s: float = Field(0.05, ge=0, description="mean time to answer")
    fault_share: Share = Field(0.02, description="share of requests that meet a fault")
    defect_share: Share = Field(
        0.04, description="share of generated questions that are defective, for the judge to find"
    )
    wrong_share: Share = Field(0.01, description="share of answers that are wrong, for the verifiers to find")
    rpm: float | None = Field(None, gt=0, description="token bucket, requests a minute")
    tpm: float | None = Field(None, gt=0, description="token bucket, tokens a minute")
    seed: Seed = Field(0, description="seed of the faults")
    batch_s: float = Field(0.2, ge=0, description="seconds a batch takes before its first item is answered")


class Recipe(Section):
    """A whole run: teachers, stages, budget."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="name of the run unless --run says another"
    )
    purpose: str = Field(description="one line: what this recipe is for")
    seed: Seed = Field(0, description="drives topic order and prompt seeds")
    teachers: dict[str, TeacherSection] = Field(description="endpoints by a name of your own")
    dataset: DatasetSection = Field(description="phase 1")
    base: BaseSection | None = Field(None, description="a base model to train from nothing; None where there is one")
    train: TrainSection | None = Field(None, description="adapters to train on a base model; None for none")
    draft: DraftSection | None = Field(None, description="a draft model for speculative decoding; None for none")
    validation: ValidationSection | None = Field(None, description="what the models are validated on; None for none")
    preflight: bool = Field(True, description="ask each provider about model, credit and limits before the first call")
    budget: BudgetSection = Field(BudgetSection(), description="the hard stop")
    loopback: LoopbackSection = Field(LoopbackSection(), description="the embedded provider's behaviour")

    @model_validator(mode="after")
    def _teachers_exist(self) -> Recipe:
        unknown = unknown_teachers(self.model_dump(mode="json"))
        if unknown:
            raise ValueError("; ".join(unknown))
        return self

    @model_validator(mode="after")
    def _batches_have_an_api(self) -> Recipe:
        for name, teacher in self.teachers.items():
            if teacher.batch is not None and teacher.wire == "procedural":
                raise ValueError(f"teachers.{name}.batch: the procedural teacher has no batch API")
        for stage, section in self.dataset.stages.items():
            if section.delivery == "batch" and self.teachers[section.teacher].batch is None:
                raise ValueError(
                    f"dataset.{stage}.delivery is batch, but teachers.{section.teacher} has no batch section"
                )
        return self

    @model_validator(mode="after")
    def _a_cache_has_a_guide(self) -> Recipe:
        easy, hard = self.dataset.answers_easy, self.dataset.answers_hard
        if easy.guide:
            raise ValueError("dataset.answers_easy.guide: there is a guide for hard questions only")
        if easy.cache != "off":
            raise ValueError("dataset.answers_easy.cache: the prompt of easy answers is too short to be cached")
        if hard.cache != "off" and not hard.guide:
            raise ValueError(
                "dataset.answers_hard.cache: without the guide the prompt is too short to be cached; "
                "set dataset.answers_hard.guide: true, or cache: off"
            )
        if hard.cache != "off" and self.teachers[hard.teacher].wire != "anthropic":
            raise ValueError("dataset.answers_hard.cache: only the anthropic wire marks a prefix to be cached")
        return self

    @model_validator(mode="after")
    def _draft_has_a_target(self) -> Recipe:
        if self.draft is not None and not self.draft.target and self.base is None and self.train is None:
            raise ValueError("draft.target names no model, and there is no section `base` or `train` to make one")
        return self

    @model_validator(mode="after")
    def _training_has_rows(self) -> Recipe:
        if self.train is None:
            return self
        if not self.train.base and self.base is None:
            raise ValueError("train.base names no model, and there is no section `base` to make one")
        for domain in (*self.train.domains, *self.train.held_out_domains):
            if domain not in self.dataset.cells:
                raise ValueError(f"train: no domain called {domain!r}; there are {sorted(self.dataset.cells)}")
        return self

    @property
    def validates(self) -> bool:
        """Whether there is a validation, and a model to validate."""
        return self.validation is not None and (self.base is not None or self.train is not None)

    @property
    def needs_loopback(self) -> bool:
        return any(teacher.base_url == "loopback" for teacher in self.teachers.values())

    @property
    def rehearsal(self) -> bool:
        """True where a teacher is the embedded loopback provider: judgements and costs are practice, not real ones."""
        return any(t.label == "loopback" for t in self.teachers.values())
