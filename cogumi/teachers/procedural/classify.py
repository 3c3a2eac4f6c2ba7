"""What kind of task a question is: its family's word where it has a family, else rules over its text.

The rules are what a rehearsal has instead of a judge that can read, and the last resort where a judge's reply says
nothing usable. Their verdicts are marked as such.
"""

from __future__ import annotations

import re

from cogumi.domain.traits import TASK_TYPES, Complexity, Traits
from cogumi.teachers.procedural.catalogue import recognise

_TYPES: dict[str, tuple[tuple[str, str], ...]] = {
    "coding": (
        ("debugging", r"\b(bug|debug|error|exception|traceback|fix|fails?|wrong|crash)\b"),
        ("refactoring", r"\b(refactor|rewrite|simplify|clean up|idiomatic|more efficient)\b"),
        ("code_review", r"\b(review|what does|output of|explain|complexity|difference between|trace|predict)\b"),
        ("code_generation", r"\b(write|implement|create|function|program|script|class|query|code)\b"),
    ),
    "math": (
        (
            "geometry",
            r"\b(area|perimeter|angle|triangle|circle|radius|rectangle|volume|square|cube|diagonal|polygon)\b",
        ),
        ("algebra", r"\b(solve|equation|variable|polynomial|factor|simplify|expression|inequality|function f)\b|\bx\b"),
        ("word_problems", r"\b(has|buys?|sells?|costs?|travels?|if .+ how (many|much)|each|per|total|left|share)\b"),
        ("arithmetic", r"\b(calculate|what is|sum|product|difference|divide|multiply|percent|fraction)\b|[-+*/^=]"),
    ),
    "tool_use": (
        ("cli_commands", r"\b(command|terminal|shell|bash|grep|git|curl|docker|chmod|flag)\b"),
        ("configuration", r"\b(config(ure|uration)?|settings?|yaml|toml|environment variable|option|parameter)\b"),
        ("api_usage", r"\b(api|call|tool|request|endpoint|json|schema|argument|function)\b"),
    ),
    "reasoning": (
        ("pattern_recognition", r"\b(pattern|sequence|next|series|analog(y|ous)|odd one|missing)\b"),
        ("logical_deduction", r"\b(if|all|no|some|must|therefore|who|knights?|liar|statement|conclu|order|taller)\b"),
        ("analysis", r"\b(why|explain|compare|evaluate|argument|assum|fallacy|cause|effect|best)\b"),
    ),
    "reading": (
        ("vocabulary", r"\b(word|means?|meaning|synonym|antonym|define|vocabulary|phrase)\b"),
        ("inference", r"\b(infer|imply|implies|suggest|conclude|why|tone|attitude|feel|author|purpose|mood)\b"),
        ("comprehension", r"\b(passage|according|read|who|what|when|where|main idea|text|story)\b"),
    ),
    "summarization": (
        ("key_points", r"\b(key|main|points?|bullets?|list|highlights?|facts?)\b"),
        ("abstraction", r"\b(own words|title|headline|theme|moral|essence|gist|message)\b"),
        ("condensing", r"\b(summar|sentence|shorten|condense|brief|words|paragraph)"),
    ),
    "common_sense": (
        (
            "social_norms",
            r"\b(polite|manners?|friend|neighbou?r|guest|should you|appropriate|rude|greet|apolog|gift)\b",
        ),
        (
            "physical_reasoning",
            r"\b(heavy|heavier|float|melt|freeze|fall|hot|cold|water|ice|break|glass|wet|burn|sun)\b",
        ),
        ("practical_knowledge", r"\b(use|used|purpose|tool|how|why|what|cook|clean|keep|store|day)\b"),
    ),
    "instruction": (
        ("clarification", r"\b(clarif|unclear|ambigu|explain|difference|what does|meaning)\b"),
        ("multi_step", r"\b(steps?|then|first|finally|after that|followed by|sequence|guide|how to|recipe|plan)\b"),
        ("task_following", r"\b(write|list|give|make|convert|rewrite|describe|name|sort|format)\b"),
    ),
    "science": (
        ("quantitative", r"\d"),
        ("experimental", r"\b(experiment|measure|observe|control|hypothes|test)\b"),
        ("conceptual", r"\b(why|how|what|explain|describe)\b"),
    ),
}
_HARM: tuple[tuple[str, str], ...] = (
    ("self_harm", r"\b(suicid|kill myself|self[- ]harm|cut myself)"),
    ("weapons", r"\b(build|make|assemble|construct)\b.{0,40}\b(bomb|explosive|grenade|nerve agent|pipe bomb|silencer)\b"),
    ("cyber_attack", r"\b(write|build|create|deploy)\b.{0,40}\b(malware|ransomware|keylogger|botnet|phishing)\b"),
    ("violence", r"\bhow (to|do i|can i)\b.{0,30}\b(kill|murder|poison|torture|strangle|hurt)\b.{0,30}\b(person|someone|somebody|people|him|her|them|wife|husband)\b"),
    ("illegal_acts", r"\bhow (to|do i|can i)\b.{0,40}\b(launder|shoplift|counterfeit|smuggle|hot-?wire|evade tax|cook meth)"),
    ("privacy", r"\b(find|track|dox)\b.{0,30}\b(home address|phone number|location)\b.{0,30}\b(of|without)\b"),
    ("hate", r"\b(inferior|subhuman|exterminate)\b.{0,40}\b(race|people|religion|immigrants|women)\b"),
    ("sexual", r"\b(porn|sexually explicit|erotic)"),
    ("deception", r"\b(write|make|create|buy|get|forge)\b.{0,20}\b(fake|forged?)\b.{0,30}\b(id|passport|prescription|review|diploma)s?\b"),
)  # fmt: skip
_COMPILED = {d: tuple((n, re.compile(p, re.IGNORECASE)) for n, p in rules) for d, rules in _TYPES.items()}
_HARMFUL = tuple((name, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for name, pattern in _HARM)
_THINKING = re.compile(
    r"\b(why|explain|prove|compare|plan|step|how many|how much|if|infer|design|solve)\b", re.IGNORECASE
)


def classify(text: str, domain: str, difficulty: str) -> Traits:
    """The traits of a question of a domain. Costs one pass over the families' templates and a few patterns."""
    task = recognise(text)
    hard = difficulty == "hard"
    if task is not None and task.family.domain == domain:
        steps = len(task.solution.steps)
        complexity: Complexity = "low" if not hard else "high" if steps > 3 else "medium"
        return Traits(task.family.task_type, complexity, hard or steps > 2, "none", "family")
    found = next((name for name, rule in _COMPILED.get(domain, ()) if rule.search(text)), TASK_TYPES[domain][0])
    words = len(text.split())
    reasoning = hard or bool(_THINKING.search(text))
    level: Complexity = "high" if hard and words > 60 else "medium" if hard or (reasoning and words > 40) else "low"
    return Traits(found, level, reasoning, harm_of(text), "rules")


def harm_of(text: str) -> str:
    """The first category whose rule matches, or "none". Rules for the plain cases: no substitute for a judge."""
    return next((name for name, rule in _HARMFUL if rule.search(text)), "none")
