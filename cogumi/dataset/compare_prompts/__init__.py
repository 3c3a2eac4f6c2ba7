"""Compare prompts: a paired comparison of two system prompts on the same questions, by the recipe's teacher and judge.

    comparison = Comparison(recipe, "answers_hard", read_candidate("builtin", hard=True), candidate, questions)
    price = await price_of_comparison(comparison, ledger)     # before anything is bought
    figures = await compare(comparison, folder)               # in a run folder of its own, through its ledger

Each prompt answers each question. The judge scores every pair of answers twice, in both orders, without being told
which prompt an answer comes from; an exact sign test over the pairs says whether the difference may be chance.
"""

from cogumi.dataset.compare_prompts.candidates import Candidate, read_candidate
from cogumi.dataset.compare_prompts.pairs import STAGES, Comparison
from cogumi.dataset.compare_prompts.price import ComparisonPrice, price_of_comparison
from cogumi.dataset.compare_prompts.questions import QuestionSet, questions_of_files, questions_of_run
from cogumi.dataset.compare_prompts.run import compare

__all__ = [
    "STAGES",
    "Candidate",
    "Comparison",
    "ComparisonPrice",
    "QuestionSet",
    "compare",
    "price_of_comparison",
    "questions_of_files",
    "questions_of_run",
    "read_candidate",
]
