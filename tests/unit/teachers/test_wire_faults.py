"""Every way the wire can fail, over real HTTP: each has its own code, and the ledger says rightly what may have been billed."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cogumi.errors import InputError
from cogumi.store.ledger import Ledger
from cogumi.teachers.retry import RetryPolicy
from cogumi.teachers.server.faults import BILLED, RETRYABLE, known_faults
from cogumi.teachers.server.serve import LoopbackProcess
from cogumi.teachers.teacher import LedgeredTeacher
from cogumi.teachers.transport import check_url
from cogumi.teachers.types import Request
from cogumi.teachers.wire_errors import WIRE, WireError
from tests.conftest import MODEL, bill_of

Start = Callable[..., LoopbackProcess]
Hire = Callable[..., LedgeredTeacher]

CODES = {
    "400": "bad-request", "401": "unauthorized", "402": "credit-exhausted", "403": "forbidden", "404": "model-unknown",
    "408": "request-timeout", "409": "conflict", "413": "request-too-large", "422": "unprocessable", "418": "status-unexpected",
    "429": "rate-limited", "429-wait": "rate-limited-wait", "429-date": "rate-limited-wait", "quota": "quota-exhausted",
    "500": "server-error", "502": "bad-gateway", "503": "unavailable", "504": "gateway-timeout", "529": "overloaded",
    "billed-500": "server-error", "redirect": "redirect-refused", "html": "reply-not-json", "garbage": "reply-garbage",
    "nan": "reply-nan", "doubled-keys": "reply-doubled-keys", "wrong-schema": "reply-schema", "no-choices": "reply-no-choices",
    "error-object": "reply-error-object", "empty": "reply-empty", "reset-before": "reset-before-reply",
    "lost-reply": "reset-before-reply", "reset-mid-body": "reply-cut-short", "cut-short": "reply-cut-short",
    "not-http": "http-malformed", "bad-gzip": "reply-encoding", "gzip-bomb": "reply-too-large", "endless": "reply-too-large",
    "slow-body": "deadline-passed", "hang": "deadline-passed",
}  # fmt: skip
NOTES = {
    "usage-missing": "usage-missing", "usage-negative": "usage-invalid", "model-other": "model-other",
    "filtered": "reply-filtered", "truncated": "reply-truncated",
}  # fmt: skip


def request(text: str = "What comes next?") -> Request:
    return Request(MODEL, "", text, 100)


def test_every_fault_of_the_provider_has_an_expected_code() -> None:
    assert set(CODES) | set(NOTES) == set(known_faults())
    assert len(set(CODES.values()) | set(NOTES.values())) >= 25
    assert set(RETRYABLE) <= set(known_faults())


@pytest.mark.parametrize("anthropic", [False, True], ids=["openai", "anthropic"])
@pytest.mark.parametrize("fault", sorted(CODES))
async def test_a_fault_gets_its_code_and_the_bill_stays_within_known_and_at_risk(
    fault: str, anthropic: bool, loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    provider = loopback(script=[fault] * 30)
    timeout_s = 1.0 if CODES[fault] == "deadline-passed" else 20.0
    teacher = hire(provider.url, anthropic=anthropic, timeout_s=timeout_s, retry=_NO_PATIENCE)
    with pytest.raises(WireError) as caught:
        await teacher.complete(request(), "stage")
    assert caught.value.code == CODES[fault]
    totals = ledger.totals()
    charges, billed = bill_of(tmp_path / "bill-0.tsv")
    assert totals.received == 0
    assert totals.cost_nanousd <= billed <= totals.cost_nanousd + totals.at_risk_nanousd
    assert (charges > 0) == (fault in BILLED)
    assert (totals.at_risk_nanousd > 0) == WIRE[CODES[fault]].billable


class _Impatient(RetryPolicy):
    """Gives up at once, 429s included, so that a test sees the first error."""

    def wait_s(self, error: WireError, failures: int, limited: int) -> float | None:
        return None


_NO_PATIENCE = _Impatient(1, (0.01,))


@pytest.mark.parametrize("fault", sorted(NOTES))
async def test_a_usable_reply_with_something_odd_is_kept_and_noted(
    fault: str, loopback: Start, hire: Hire, ledger: Ledger, tmp_path: Path
) -> None:
    teacher = hire(loopback(script=[fault]).url)
    reply = await teacher.complete(request(), "stage")
    assert reply.notes == (NOTES[fault],)
    totals = ledger.totals()
    _, billed = bill_of(tmp_path / "bill-0.tsv")
    assert totals.received == 1
    assert totals.cost_nanousd <= billed <= totals.cost_nanousd + totals.at_risk_nanousd
    assert (totals.at_risk_nanousd > 0) == WIRE[NOTES[fault]].billable


async def test_the_raw_bytes_of_an_unusable_reply_are_kept(loopback: Start, hire: Hire, ledger: Ledger) -> None:
    teacher = hire(loopback(script=["garbage"]).url)
    with pytest.raises(WireError):
        await teacher.complete(request(), "stage")
    (row,) = ledger.rows("state", "error_code", "reply")
    assert row["state"] == "unknown" and row["reply"].startswith(b'{"choices": [}{')


async def test_nothing_listens(hire: Hire) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    teacher = hire(f"http://127.0.0.1:{port}")
    with pytest.raises(WireError, match="connect-refused"):
        await teacher.complete(request(), "stage")


async def test_a_host_that_does_not_resolve(hire: Hire) -> None:
    from cogumi.teachers.transport import HttpTransport

    teacher = hire("http://127.0.0.1:1", transport=HttpTransport("https://no-such-host.invalid/v1", {}, 5))
    with pytest.raises(WireError, match="host-unknown"):
        await teacher.complete(request(), "stage")


async def test_a_server_without_tls_behind_https(hire: Hire, loopback: Start) -> None:
    from cogumi.teachers.transport import HttpTransport

    url = loopback().url.replace("http://", "https://")
    teacher = hire("http://127.0.0.1:1", transport=HttpTransport(f"{url}/v1", {}, 5))
    with pytest.raises(WireError) as caught:
        await teacher.complete(request(), "stage")
    assert caught.value.code == "tls-failed"


@pytest.mark.alone
async def test_a_connection_that_is_never_accepted_ends_at_the_deadline(hire: Hire) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        held = [socket.create_connection(deaf.getsockname(), timeout=1)]
        teacher = hire(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.5)
        began = time.monotonic()
        with pytest.raises(WireError) as caught:
            await teacher.complete(request(), "stage")
        held[0].close()
    assert caught.value.code in ("connect-timeout", "deadline-passed")
    assert time.monotonic() - began < 2


@pytest.mark.alone
async def test_one_byte_a_second_does_not_beat_the_deadline(hire: Hire, loopback: Start) -> None:
    teacher = hire(loopback(script=["slow-body"]).url, timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(WireError, match="deadline-passed"):
        await teacher.complete(request(), "stage")
    assert time.monotonic() - began < 2


async def test_bombs_do_not_grow_the_process(hire: Hire, loopback: Start) -> None:
    teacher = hire(loopback(script=["endless", "gzip-bomb"] * 3).url)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(6):
        with pytest.raises(WireError, match="reply-too-large"):
            await teacher.complete(request(str(number)), "stage")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120 * 1024  # KiB; the bombs hold 3 x 512 MiB


async def test_a_key_quoted_back_by_the_provider_is_hidden(hire: Hire, loopback: Start) -> None:
    teacher = hire(loopback(key="sk-right-0123456789").url, key="sk-wrong-0123456789")
    with pytest.raises(WireError) as caught:
        await teacher.complete(request(), "stage")
    assert caught.value.code == "unauthorized"
    assert "sk-wrong" not in str(caught.value)


async def test_a_wrong_key_stops_every_later_call_at_once(hire: Hire, loopback: Start) -> None:
    provider = loopback(key="right")
    teacher = hire(provider.url, key="wrong", retry=RetryPolicy(3, (0.01,)))
    for number in range(20):
        with pytest.raises(WireError, match="unauthorized"):
            await teacher.complete(request(str(number)), "stage")
    assert len(provider.look("/arrivals")["arrivals"]) == 1


async def test_an_unknown_model_is_said_to_be_unknown(hire: Hire, loopback: Start) -> None:
    teacher = hire(loopback().url)
    with pytest.raises(WireError, match="model-unknown"):
        await teacher.complete(Request("gpt-nine", "", "hello there", 10), "stage")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1", "http://10.0.0.1/v1", "http://192.168.1.1", "ftp://127.0.0.1", "file:///etc/passwd", "",
        "https://user:pw@api.openai.com/v1", "https://api.openai.com/v1?key=x", "https://api.openai.com/v1#x", "https://",
        "https://169.254.169.254/latest", "https://2852039166/latest", "https://0xa9fea9fe/", "https://[fe80::1]/", "https://0.0.0.0",
        "https://[::ffff:169.254.169.254]/", "https://metadata.google.internal/", "http://127.0.0.1.nip.io/", "http://localhost.evil.com",
        "https://host:99999/", "javascript:alert(1)", "https://224.0.0.1/", "//api.openai.com",
    ],
)  # fmt: skip
def test_urls_that_keys_are_not_sent_to(url: str) -> None:
    with pytest.raises(InputError, match="url-refused") as caught:
        check_url(url, allow_loopback_http=True)
    assert ":pw@" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8712/v1", "http://localhost:1/v1", "http://[::1]:9/v1"])
def test_loopback_http_needs_its_flag(url: str) -> None:
    assert check_url(url + "/", allow_loopback_http=True) == url
    with pytest.raises(InputError, match="url-refused"):
        check_url(url, allow_loopback_http=False)


def test_every_wire_code_says_cause_and_remedy() -> None:
    for code, fault in WIRE.items():
        assert fault.cause.endswith(".") and fault.remedy.endswith("."), code
        assert not (fault.fatal and fault.retry), code
    assert threading.active_count() < 50
