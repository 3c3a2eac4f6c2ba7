"""The sections of training: a base model from nothing, adapters on a base, and a draft that proposes its tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cogumi.recipe.section import Section, Share

AlgorithmName = Literal["sft", "reptile", "fomaml", "maml", "anil1", "anil", "anil_cross"]
HeadName = Literal["lm_head_lora", "final_hidden", "last_layers"]
ModuleName = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TrackerName = Literal["trackio", "wandb", "mlflow", "tensorboard"]


def check_heads(hidden_size: int, heads: int, kv_heads: int) -> None:
    """ValueError where no attention has this shape."""
    if hidden_size % heads or heads % kv_heads:
        raise ValueError("heads divides hidden_size, and kv_heads divides heads")
    if hidden_size // heads % 2:
        raise ValueError("hidden_size / heads is even: rotary embeddings turn pairs")


class BaseSection(Section):
    """Phase 1B: a base model trained from nothing on the dataset, where no model is at hand. Llama's architecture."""

    hidden_size: int = Field(256, ge=16, le=8192, description="width; a multiple of heads")
    intermediate_size: int = Field(704, ge=16, le=32768, description="width of the gated feed-forward")
    layers: int = Field(6, ge=1, le=80, description="decoder layers")
    heads: int = Field(4, ge=1, le=128, description="query heads")
    kv_heads: int = Field(2, ge=1, le=128, description="key and value heads; divides heads")
    seq_length: int = Field(256, ge=8, le=32768, description="tokens of a training window")
    batch_windows: int = Field(8, ge=1, le=4096, description="windows a step")
    steps: int = Field(600, ge=1, description="optimizer steps")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="peak learning rate of AdamW")
    warmup_steps: int = Field(50, ge=1, description="steps of linear warm-up; a cosine down to a tenth follows")
    weight_decay: float = Field(0.1, ge=0, le=1, description="of matrices; norms do not decay")
    save_every: int = Field(100, ge=1, description="steps between checkpoints, the most that a kill loses")
    texts: list[str] = Field(default_factory=list, description="more text: files or folders (.txt .md .rst .py)")
    texts_mb: float = Field(32, gt=0, description="most text to take of them, in MB of 10^6 bytes, in name order")
    usd_per_hour: float = Field(0, ge=0, description="price of the device, for the dry run's cost")

    @model_validator(mode="after")
    def _heads_divide(self) -> BaseSection:
        check_heads(self.hidden_size, self.heads, self.kv_heads)
        return self


class LoraSection(Section):
    """The change of the base: alpha / rank times B A beside each matrix named, in every layer."""

    rank: int = Field(16, ge=1, le=1024, description="rank of the change")
    alpha: int = Field(32, ge=1, le=4096, description="its scale times the rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of a module's inputs dropped in training")
    modules: list[ModuleName] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="matrices that are changed",
    )


class HeadSection(Section):
    """The part that the inner loop adapts. Algorithms that adapt all LoRA weights (fomaml, maml, reptile) have none."""

    kind: HeadName = Field("final_hidden", description="a change of logits, of the final hidden state, or of layers")
    rank: int = Field(16, ge=1, le=1024, description="rank of lm_head_lora and final_hidden")
    alpha: int = Field(32, ge=1, le=4096, description="its scale times the rank")
    layers: int = Field(1, ge=1, le=128, description="how many layers last_layers adapts")


class InnerSection(Section):
    """The inner loop: gradient descent on the support set."""

    steps: int = Field(3, ge=1, le=100, description="steps of adaptation")
    rate: float = Field(0.1, gt=0, le=100, description="step size, or where learned ones begin")
    learn_rates: bool = Field(True, description="learn a step size for each weight and step (Meta-SGD)")
    rate_learning_rate: float = Field(0.01, gt=0, le=1, description="peak learning rate of learned step sizes")
    clip: float | None = Field(1.0, gt=0, description="largest norm of a step's gradient; None for no limit")


class TrainSection(Section):
    """Phase 1B: LoRA adapters on a base model, meta-trained over tasks (docs/explanation/meta-training.md)."""

    preset: str = Field("anil", description="values of this section that are not given: a file under recipes/train")
    base: str = Field("", description="the base model: a folder or a known hub id; empty: the one that `base` makes")
    revision: str = Field("main", description="commit of a hub id; a branch's name takes what is newest")
    algorithm: AlgorithmName = Field("anil", description="how the meta-gradient is taken")
    lora: LoraSection = Field(LoraSection(), description="the change of the base")
    head: HeadSection = Field(HeadSection(), description="what the inner loop adapts")
    inner: InnerSection = Field(InnerSection(), description="the inner loop")
    tasks_per_step: int = Field(4, ge=1, le=256, description="episodes of an outer step, each of another task")
    support: int = Field(6, ge=1, le=256, description="rows an episode adapts on")
    query: int = Field(6, ge=1, le=256, description="rows an episode is judged by")
    temperature: Share = Field(0.5, description="tasks are drawn by rows ** this: 1 in proportion, 0 evenly")
    most_rows: int = Field(400, ge=4, description="a task of more rows is split into clusters of similar questions")
    domains: list[str] = Field(default_factory=list, description="domains to train on; empty: all of dataset.cells")
    held_out_domains: list[str] = Field(default_factory=list, description="domains kept apart whole")
    held_out_share: float = Field(
        0.15, gt=0, le=0.9, description="share of the other tasks kept apart: half to choose by, half to report on"
    )
    max_seq_length: int = Field(2048, ge=8, le=131072, description="tokens of the longest row allowed")
    too_long: Literal["refuse", "drop"] = Field("refuse", description="what to do where rows are longer")
    epochs: float = Field(3, gt=0, le=1000, description="passes over the training rows, unless steps says another")
    steps: int | None = Field(None, ge=1, description="outer steps; None: as many as epochs take")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="peak learning rate of AdamW")
    warmup_share: Share = Field(0.03, description="share of the steps with linear warm-up; a cosine to a tenth follows")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of AdamW")
    clip: float = Field(1.0, gt=0, description="largest norm of the meta-gradient")
    look_every: int = Field(
        50, ge=1, le=50, description="steps between looks: probe, held-out gain, checkpoint; the most that a kill loses"
    )
    look_episodes: int = Field(32, ge=2, le=1000, description="held-out episodes of a look")
    patience: int = Field(0, ge=0, description="looks without a better held-out loss before it stops; 0: never")
    compare_episodes: int = Field(200, ge=0, description="held-out episodes of the closing table; 0: no table")
    sft_control: bool = Field(True, description="train by plain SFT on the same rows too, for the table")
    sweep: list[Annotated[float, Field(gt=0, le=100)]] = Field(
        [1.0],
        min_length=1,
        description="multiples of learning_rate that adapter and SFT are each tried at; the best is kept",
    )
    keep: Literal["everything", "products", "inputs"] = Field(
        "everything", description="what is kept for the way back: less of it takes less memory and more time"
    )
    token_budget: int | None = Field(None, ge=1, description="most tokens that go through the body at once")
    compile: bool = Field(True, description="fuse layers on a GPU, 25 s once; a CPU never does")
    trackers: list[TrackerName] = Field(default_factory=list, description="where metrics go besides the run's folder")
    usd_per_hour: float = Field(0, ge=0, description="price of a device, for cost in plan, progress and report")
    processes: int = Field(
        1, ge=1, le=64, description="processes of this machine, a GPU each; the tasks of a step are shared out"
    )
    shard_base: bool = Field(
        False, description="divide the base's layers among the processes (FSDP2), where one card does not hold it"
    )

    @model_validator(mode="after")
    def _processes_have_work(self) -> TrainSection:
        if self.processes > self.tasks_per_step:
            raise ValueError("processes: at most as many as tasks_per_step, so that each has a task")
        if self.shard_base and self.processes == 1:
            raise ValueError("shard_base needs processes of 2 or more")
        if self.shard_base and (self.algorithm in ("fomaml", "maml", "reptile") or self.head.kind == "last_layers"):
            raise ValueError("shard_base goes with heads on the output alone: lm_head_lora or final_hidden")
        return self

    @model_validator(mode="after")
    def _domains_are_apart(self) -> TrainSection:
        if self.domains and not set(self.held_out_domains) < set(self.domains):
            raise ValueError("held_out_domains are some of domains, and not all of them")
        return self

    @model_validator(mode="after")
    def _rates_differ(self) -> TrainSection:
        if len(set(self.sweep)) < len(self.sweep):
            raise ValueError("sweep names each multiple once")
        return self


class DraftSection(Section):
    """Phase 1B: a draft model for speculative decoding, trained on teacher text, then on what its target writes."""

    target: str = Field("", description="what it proposes tokens to: a folder or a known hub id; empty: the run's own")
    model: str = Field("", description="the draft: a folder or a known hub id; empty: one is made from nothing")
    revision: str = Field("main", description="commit of a hub id; a branch's name takes what is newest")
    hidden_size: int = Field(128, ge=16, le=8192, description="of one from nothing: width; a multiple of heads")
    intermediate_size: int = Field(352, ge=16, le=32768, description="of one from nothing: the gated feed-forward")
    layers: int = Field(1, ge=1, le=80, description="of one from nothing: decoder layers")
    heads: int = Field(4, ge=1, le=128, description="of one from nothing: query heads")
    kv_heads: int = Field(2, ge=1, le=128, description="of one from nothing: key and value heads; divides heads")
    rows_per_step: int = Field(8, ge=1, le=4096, description="rows a step")
    max_seq_length: int = Field(
        2048, ge=8, le=131072, description="tokens of the longest row; longer ones are left out"
    )
    learning_rate: float = Field(3e-4, gt=0, le=1, description="peak learning rate of AdamW, of each part anew")
    warmup_steps: int = Field(20, ge=1, description="steps of linear warm-up; a cosine down to a tenth follows")
    weight_decay: float = Field(0.01, ge=0, le=1, description="of matrices; norms do not decay")
    save_every: int = Field(100, ge=1, description="steps between checkpoints, the most that a kill loses")
    sft_steps: int = Field(2000, ge=0, description="steps on teacher text: the dataset's training rows")
    prompts: int = Field(4000, ge=1, description="training prompts that the target answers, spread over the domains")
    max_new_tokens: int = Field(256, ge=1, le=16384, description="longest answer")
    keep: int = Field(
        64, ge=1, le=4096, description="words of the target's distribution kept at a place; the rest pooled"
    )
    offline_steps: int = Field(2000, ge=0, description="steps on the target's answers, KL divergence")
    rounds: int = Field(2, ge=0, le=100, description="rounds on text that draft and target have just written")
    round_steps: int = Field(500, ge=1, description="steps of a round")
    round_prompts: int = Field(1000, ge=1, description="training prompts that are answered anew in a round")
    round_rate: float = Field(0.3, gt=0, le=10, description="learning rate of the rounds, times learning_rate")
    own_text: Share = Field(
        0.0, description="share of a round's rows that the draft writes; the target writes the others"
    )
    loss: Literal["kl", "tv", "lk"] = Field("lk", description="of the rounds: KL, total variation, or -log acceptance")
    proposals: int = Field(
        5, ge=1, le=32, description="tokens the draft proposes at once, where acceptance is measured"
    )
    eval_prompts: int = Field(400, ge=2, description="prompts of the test part that acceptance is measured on")
    sft_control: bool = Field(True, description="go on with teacher text alone for as many steps too, for the table")
    usd_per_hour: float = Field(0, ge=0, description="price of the device, for the dry run's cost")

    @model_validator(mode="after")
    def _heads_divide(self) -> DraftSection:
        check_heads(self.hidden_size, self.heads, self.kv_heads)
        return self
