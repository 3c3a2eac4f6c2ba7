"""Mind: what the embedded teacher says to a chat prompt. It reads the prompt's text, as any model would.

It can write questions of its families, judge questions by rule, and answer what its families can solve. To anything
else it says that it is a rehearsal. The n-th time a prompt is asked always gets the same reply.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

import orjson

from cogumi.domain import Difficulty
from cogumi.domain.cells import DOMAINS, domain_key
from cogumi.teachers.procedural.catalogue import by_domain, recognise
from cogumi.teachers.procedural.classify import classify
from cogumi.teachers.procedural.defects import DEFECTS, looks_defective, spoil
from cogumi.teachers.procedural.family import Solution, mutate_text
from cogumi.teachers.procedural.phrasing import phrase_hard_answer, phrase_list

_ASKED = re.compile(
    r"^Domain: (?P<domain>.+)\nDifficulty: (?P<difficulty>easy|hard)\b.*?\nCount: (?P<count>\d+)$",
    re.MULTILINE | re.DOTALL,
)
_TO_JUDGE = re.compile(
    r'<question id="(\d+)" domain="([^"]+)" difficulty="(easy|hard)">\n(.*?)\n</question>', re.DOTALL
)
_PAIR = re.compile(
    r"<question>\n(?P<question>.*?)\n</question>\n\n"
    r'<answer id="1">\n.*?<result>\n(?P<first>.*?)\n</result>\n</answer>\n\n'
    r'<answer id="2">\n.*?<result>\n(?P<second>.*?)\n</result>\n</answer>',
    re.DOTALL,
)
MISLED = "wrong on purpose"
"""A system text with these words gets wrong answers: the teacher does as it is told."""
REHEARSAL = "This is a rehearsal: the embedded teacher can only answer questions of its own families."


@dataclass(frozen=True, slots=True)
class Mind:
    """How reliable the teacher is: shares of defective questions, wrong answers, untidy formats, and pairs of answers
    of which it likes the first better for standing first.
    """

    defect_share: float = 0.0
    wrong_share: float = 0.0
    untidy_share: float = 0.0
    first_share: float = 0.0
    known: Mapping[str, str] = field(default_factory=dict)  # gold answers by question, beside those of the families

    def reply(self, system: str, user: str, sample: int = 0) -> str:
        """The text a prompt is answered with; asked again (`sample` 1, 2 ...) it may be another, as at any temperature above 0."""
        rng = Random(hashlib.sha256(f"{sample}\0{system}\0{user}".encode()).digest())
        if to_judge := _TO_JUDGE.findall(user):
            return self._judge(rng, to_judge, classified="harm_category" in user)
        if pair := _PAIR.search(user):
            return self._compare(rng, pair)
        if asked := _ASKED.search(user):
            return self._write_questions(rng, asked)
        return self._answer(rng, user.strip(), hard="<thinking>" in system, misled=MISLED in system)

    def _write_questions(self, rng: Random, asked: re.Match[str]) -> str:
        domain = domain_key(asked["domain"]) or asked["domain"]
        difficulty, count = Difficulty(asked["difficulty"]), int(asked["count"])
        families = by_domain(domain)
        if not families:
            return f"I know no questions about {domain}."
        rows: list[dict[str, Any]] = []
        for _ in range(count):
            task = rng.choice(families).generate(rng, difficulty)
            text = task.question
            if rng.random() < self.defect_share:
                text = spoil(rng.choice(DEFECTS), text, domain, difficulty, rng)
            elif rows and rng.random() < self.defect_share / 2:
                text = rng.choice(rows)["question"]
            rows.append({"question": text, "topic": task.family.name})
        return phrase_list(rows, rng) if rng.random() < self.untidy_share else orjson.dumps(rows).decode()

    def _judge(self, rng: Random, questions: list[tuple[str, str, str, str]], classified: bool) -> str:
        rows = [
            {
                "id": int(number),
                **_scores(text, domain, difficulty, rng),
                **_traits(text, domain, difficulty, classified),
            }
            for number, domain, difficulty, text in questions
        ]
        return phrase_list(rows, rng) if rng.random() < self.untidy_share else orjson.dumps(rows).decode()

    def _compare(self, rng: Random, pair: re.Match[str]) -> str:
        """Right beats wrong, by the verifier; of what it cannot verify it finds neither better."""
        scores = [self._worth(pair["question"].strip(), pair[name].strip()) for name in ("first", "second")]
        scores[0] += rng.random() < self.first_share
        rows = [{"id": number, "score": score} for number, score in enumerate(scores, 1)]
        return phrase_list(rows, rng) if rng.random() < self.untidy_share else orjson.dumps(rows).decode()

    def _worth(self, question: str, answer: str) -> int:
        task, gold = recognise(question), self.known.get(question)
        if task is not None:
            return 9 if task.verify(answer) else 2
        return 5 if gold is None else 9 if answer == str(gold).strip() else 2

    def _answer(self, rng: Random, question: str, hard: bool, misled: bool) -> str:
        task = recognise(question)
        gold = self.known.get(question)
        if task is None and gold is None:
            if not hard:
                return REHEARSAL
            return phrase_hard_answer(
                (REHEARSAL,), "No family recognises the question.", REHEARSAL, REHEARSAL, rng, untidy=False
            )
        if task is None:
            solution = Solution(str(gold), ("The rules of the puzzle leave one answer.",), "the answer follows them")
        else:
            solution = task.solution

        def wrong() -> str:
            return task.wrong_answer(rng) if task else mutate_text(solution.answer, rng)

        answer = wrong() if rng.random() < self.wrong_share or misled else solution.answer
        if not hard:
            return answer
        draft = wrong() if rng.random() < 0.3 else answer
        return phrase_hard_answer(
            solution.steps, solution.check, draft, answer, rng, untidy=rng.random() < self.untidy_share
        )


def _traits(text: str, domain_name: str, difficulty: str, classified: bool) -> dict[str, Any]:
    """What kind of task a question is, where the prompt asks for it."""
    domain = domain_key(domain_name)
    if not classified or domain is None:
        return {}
    traits = asdict(classify(text, domain, difficulty))
    del traits["classified_by"]
    return traits


def _scores(text: str, domain_name: str, difficulty: str, rng: Random) -> dict[str, int]:
    """Four scores by rule. A question of the families is judged against its own domain and difficulty; of any
    other only the form can be judged, which is why such a run is called a rehearsal."""
    task = recognise(text)
    if looks_defective(text):
        base = {"clarity": 2, "relevance": 6, "difficulty": 6, "quality": 2}
    elif task is None:
        base = {"clarity": 8, "relevance": 8, "difficulty": 7, "quality": 8}
    elif DOMAINS[task.family.domain] != domain_name:
        base = {"clarity": 9, "relevance": 0, "difficulty": 6, "quality": 6}
    elif str(task.difficulty) != difficulty:
        base = {"clarity": 9, "relevance": 8, "difficulty": 1, "quality": 6}
    else:
        base = {"clarity": 9, "relevance": 9, "difficulty": 8, "quality": 9}
    return {name: max(0, min(10, value + rng.choice((-1, 0, 0, 0, 1)))) for name, value in base.items()}
