"""Recipe: one strict YAML that says a whole run.

    recipe = load_recipe("demo", overrides=["dataset.judge.pass_mean=7.5"])

Presets lie in deployments/recipes (in the wheel: cogumi/recipes). An unknown key is an error with a suggestion.
"""

from cogumi.recipe.loading import (
    as_of_period,
    check_recipe,
    content_hash,
    hash_all,
    load_recipe,
    preset_folder,
    preset_names,
    train_preset_names,
)
from cogumi.recipe.section import MAX_SEED, Section
from cogumi.recipe.sections import (
    AnswersSection,
    AugmentSection,
    BalanceSection,
    BatchSection,
    BudgetSection,
    DatasetSection,
    GivenSection,
    JudgeSection,
    LoopbackSection,
    NearDuplicatesSection,
    QuestionsSection,
    Recipe,
    SplitSection,
    StageSection,
    TeacherSection,
    TokenizerSection,
)
from cogumi.recipe.stored import as_of_format, overrides_of_format, stored_recipe
from cogumi.recipe.training import BaseSection, DraftSection, HeadSection, InnerSection, LoraSection, TrainSection
from cogumi.recipe.validation import ValidationSection

__all__ = [
    "MAX_SEED",
    "AnswersSection",
    "AugmentSection",
    "BalanceSection",
    "BaseSection",
    "BatchSection",
    "BudgetSection",
    "DatasetSection",
    "DraftSection",
    "GivenSection",
    "HeadSection",
    "InnerSection",
    "JudgeSection",
    "LoopbackSection",
    "LoraSection",
    "NearDuplicatesSection",
    "QuestionsSection",
    "Recipe",
    "Section",
    "SplitSection",
    "StageSection",
    "TeacherSection",
    "TokenizerSection",
    "TrainSection",
    "ValidationSection",
    "as_of_format",
    "as_of_period",
    "check_recipe",
    "content_hash",
    "hash_all",
    "load_recipe",
    "overrides_of_format",
    "preset_folder",
    "preset_names",
    "stored_recipe",
    "train_preset_names",
]
