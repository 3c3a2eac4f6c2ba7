"""Preflight: what can be known of each teacher before the first paid call, from its own endpoints.

The model must be listed and not ended; a date of ending, little credit, a free tier that takes days, and terms that do
not allow training are told.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from math import ceil
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from cogumi.errors import InputError
from cogumi.extras import missing
from cogumi.recipe import Recipe, TeacherSection
from cogumi.teachers.anthropic_messages import AnthropicWire
from cogumi.teachers.batch_desk import SDKS
from cogumi.teachers.keys import key_for
from cogumi.teachers.openai_compatible import OpenAIWire
from cogumi.teachers.transport import HttpTransport, RawReply
from cogumi.teachers.types import Needs
from cogumi.teachers.wire_errors import WIRE, WireError, redact, status_code

_SOON_DAYS = 90
_TIMEOUT_S = 20
_FREE = ":free"
_FREE_DAILY = 50  # OpenRouter, account-wide, before 10 credits were ever bought; 1,000 after
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out about a teacher; `code` is one of the catalogue's where it is an error."""

    teacher: str
    level: Level
    code: str
    text: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


async def preflight(recipe: Recipe, needs: dict[str, Needs], today: date | None = None) -> list[Finding]:
    """Findings for every teacher that is not embedded, in the order of the recipe. Raises nothing: see `refuse`."""
    day = today or datetime.now(UTC).date()
    asked = [(name, section) for name, section in recipe.teachers.items() if section.wire != "procedural"]
    asked = [(name, section) for name, section in asked if section.base_url != "loopback"]
    found = await asyncio.gather(*(_look(name, section, needs.get(name, Needs()), day) for name, section in asked))
    return [finding for findings in found for finding in findings]


def refuse(findings: list[Finding]) -> None:
    """Raise the first error among the findings, and say how many more there are: WireError, else InputError."""
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        told = f"{errors[0].teacher}: {errors[0].text}{more}"
        raise WireError(errors[0].code, told) if errors[0].code in WIRE else InputError(errors[0].code, told)


async def _look(name: str, section: TeacherSection, needs: Needs, day: date) -> list[Finding]:
    absent = missing(*SDKS) if section.batch is not None else ""
    findings = [Finding(name, "error", "extra-missing", f"batches: {absent}")] if absent else []
    key = key_for(section.api_key_env) if section.api_key_env else ""
    if section.api_key_env and not key:
        return [*findings, Finding(name, "error", "key-missing", f"{section.api_key_env} is not set")]
    wire = AnthropicWire() if section.wire == "anthropic" else OpenAIWire()
    transport = HttpTransport(section.base_url, wire.headers(key), _TIMEOUT_S, section.allow_loopback_http, key)
    try:
        listed = _data(await transport.get(wire.models_path))
        findings.append(_model(name, section, {str(row["id"]): row for row in listed}, day))
        if _tells_of_keys(section):
            findings += _credit(name, section, dict(_data(await transport.get("/key"))), needs)
    except WireError as error:
        findings.append(Finding(name, "error", error.code, section.base_url))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        findings.append(Finding(name, "error", "endpoint-unusable", redact(f"{section.base_url}: {error!r}")[:300]))
    finally:
        await transport.aclose()
    if section.training_allowed != "yes":
        told = (
            "forbid training on outputs"
            if section.training_allowed == "no"
            else "were not looked at (training_allowed)"
        )
        findings.append(Finding(name, "warning", "terms", f"the provider's terms {told}"))
    return findings


def _data(reply: RawReply) -> Any:
    if reply.status != 200:
        raise WireError(status_code(reply.status, reply.body, has_wait=False), "", reply.status)
    return orjson.loads(reply.body)["data"]


def _model(name: str, section: TeacherSection, listed: dict[str, dict[str, Any]], day: date) -> Finding:
    """Whether the model is there, and for how long: OpenAI's listing has a shutdown_date."""
    row = listed.get(section.model)
    if row is None:
        return Finding(name, "error", "model-not-listed", f"{section.model} at {section.base_url}")
    ends = row.get("shutdown_date")
    if not ends:
        return Finding(name, "ok", "model", f"{section.model} is listed")
    left = (_date(ends) - day).days
    if left < 0:
        return Finding(name, "error", "model-ended", f"{section.model} was shut down on {_date(ends)}")
    level: Level = "warning" if left <= _SOON_DAYS else "ok"
    return Finding(name, level, "shutdown-date", f"{section.model} is shut down on {_date(ends)}, in {left} days")


def _credit(name: str, section: TeacherSection, told: dict[str, Any], needs: Needs) -> list[Finding]:
    """OpenRouter: credit left against the estimate, and the days that a free model's daily requests need."""
    findings = []
    left = told.get("limit_remaining")
    if left is not None:
        short = float(left) < needs.cost_usd
        text = f"${float(left):,.2f} of credit left, about ${needs.cost_usd:,.2f} needed"
        findings.append(Finding(name, "warning" if short else "ok", "credit", text))
    if section.model.endswith(_FREE):
        free = told.get("free_model_daily_requests") or {}
        daily = int(free.get("limit") or _FREE_DAILY)
        days = ceil(needs.calls / max(1, daily))
        text = f"{needs.calls:,} calls at {daily:,} free requests a day take {days:,} days"
        findings.append(Finding(name, "warning" if days > 1 else "ok", "free-tier", text))
    return findings


def _tells_of_keys(section: TeacherSection) -> bool:
    return section.label == "openrouter" or (urlsplit(section.base_url).hostname or "").endswith("openrouter.ai")


def _date(value: Any) -> date:
    """A date given as ISO text or Unix time."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).date()
    return date.fromisoformat(str(value)[:10])
