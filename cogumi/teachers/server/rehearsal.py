"""Rehearsal: a recipe with the embedded provider in place of every teacher, to see a run whole before paying for it."""

from __future__ import annotations

from cogumi.recipe import Recipe, check_recipe


def as_rehearsal(recipe: Recipe) -> Recipe:
    """The same recipe with the embedded provider in place of every teacher: same cells, prompts, batches and caches,
    no key, no limits, play money. The run is named "NAME-rehearsal".
    """
    raw = recipe.model_dump(mode="json")
    data = recipe.dataset
    roles = {
        name: "loopback/questioner" for name in (data.questions.teacher, *data.questions.teacher_by_domain.values())
    }
    roles |= {data.judge.teacher: "loopback/judge", data.answers_easy.teacher: "loopback/answerer"}
    roles[data.answers_hard.teacher] = "loopback/thinker"
    for name, teacher in raw["teachers"].items():
        model = roles.get(name, "loopback/answerer")
        teacher |= {"provider": "loopback", "model": model, "base_url": "loopback", "api_key_env": ""}
        teacher |= {"rpm": None, "tpm": None, "in_flight": 32, "timeout_s": 30, "backoff_s": [0.2, 0.4, 0.8]}
        teacher |= {"usd_per_mtok_in": None, "usd_per_mtok_out": None, "training_allowed": "yes"}
        if teacher["batch"] is not None:
            teacher["batch"] |= {"poll_s": 0.2, "gather_s": 0.2}
    raw["loopback"] = {**raw["loopback"], "latency_s": 0.01, "batch_s": 0.1}
    return check_recipe({**raw, "name": f"{recipe.name}-rehearsal", "purpose": f"a rehearsal of: {recipe.purpose}"})
