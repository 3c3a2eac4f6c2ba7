"""Everything that can go wrong between us and a provider, each with a code of its own.

For each code: may the provider have billed (`billable`), is another attempt worth it (`retry`), does it end
the run (`fatal`). `billable` decides whether the attempt's worst-case price stays at risk in the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cogumi.errors import ErrorEntry, TeacherError


@dataclass(frozen=True, slots=True)
class WireFault(ErrorEntry):
    """Catalogue entry of a wire error."""

    retry: bool = False
    billable: bool = False
    fatal: bool = False


_AGAIN = "Nothing: it is asked again. If it goes on, look at the provider's status page."
_NETWORK = "Check the network and the base_url."

WIRE: dict[str, WireFault] = {
    # -- before the request was sent
    "connect-refused": WireFault("Nothing listens at the base_url.", _NETWORK, retry=True),
    "connect-timeout": WireFault("No connection within the deadline.", _NETWORK, retry=True),
    "host-unknown": WireFault("The base_url's host name does not resolve.", _NETWORK, retry=True),
    "tls-failed": WireFault(
        "The TLS handshake failed.", "Check the certificate, and ca-certificates in slim images.", fatal=True
    ),
    # -- while waiting for the reply: it may have been computed and billed
    "reset-before-reply": WireFault("The connection was dropped before a reply.", _AGAIN, retry=True, billable=True),
    "reply-cut-short": WireFault("The reply ended before its announced length.", _AGAIN, retry=True, billable=True),
    "deadline-passed": WireFault(
        "No complete reply within timeout_s.", "Raise timeout_s if this is common.", retry=True, billable=True
    ),
    "reply-too-large": WireFault(
        "The reply grew past 16 MiB.",
        "Lower max_tokens; report it to the provider.",
        retry=True,
        billable=True,
    ),
    "reply-encoding": WireFault("The reply's compression cannot be undone.", _AGAIN, retry=True, billable=True),
    "http-malformed": WireFault(
        "The reply is not HTTP.", "Check that base_url is an API, not a proxy.", retry=True, billable=True
    ),
    # -- HTTP statuses
    "redirect-refused": WireFault(
        "The provider redirects elsewhere; keys are never sent on.",
        "Put the final URL into base_url.",
        fatal=True,
    ),
    "bad-request": WireFault(
        "The provider refuses the request as malformed (400).",
        "Check model, max_tokens and temperature in the recipe.",
    ),
    "unauthorized": WireFault(
        "The API key is wrong or expired (401).",
        "Export a valid key in the variable named by api_key_env.",
        fatal=True,
    ),
    "credit-exhausted": WireFault(
        "The account has no credit left (402).",
        "Add credit, then run the same command: it resumes.",
        fatal=True,
    ),
    "forbidden": WireFault(
        "The key may not use this model (403).", "Ask for access, or name another model.", fatal=True
    ),
    "model-unknown": WireFault(
        "There is no such model or path (404).",
        "Check the model id; cogumi doctor lists what the endpoint has.",
        fatal=True,
    ),
    "request-timeout": WireFault("The provider gave up waiting (408).", _AGAIN, retry=True),
    "conflict": WireFault("The provider reports a conflict (409).", _AGAIN, retry=True),
    "request-too-large": WireFault("The request is too large (413).", "Lower per_call in the recipe."),
    "unprocessable": WireFault(
        "The provider refuses the request's content (422).",
        "Check the recipe's values against the provider's documentation.",
    ),
    "rate-limited": WireFault(
        "Too many requests (429).", "Nothing: the limiter waits. Lower rpm if it is common.", retry=True
    ),
    "rate-limited-wait": WireFault(
        "Too many requests, with a time to wait (429).",
        "Nothing: the limiter waits. Lower rpm if it is common.",
        retry=True,
    ),
    "quota-exhausted": WireFault(
        "The account's quota is used up (429).",
        "Raise the quota or wait for its renewal, then run the same command.",
        fatal=True,
    ),
    "server-error": WireFault("The provider failed inside (500).", _AGAIN, retry=True, billable=True),
    "bad-gateway": WireFault("A gateway got no proper reply (502).", _AGAIN, retry=True, billable=True),
    "unavailable": WireFault("The provider is not available (503).", _AGAIN, retry=True),
    "gateway-timeout": WireFault("A gateway gave up waiting (504).", _AGAIN, retry=True, billable=True),
    "overloaded": WireFault("The provider is overloaded (529).", _AGAIN, retry=True),
    "status-unexpected": WireFault("An HTTP status this program does not know.", _AGAIN, billable=True),
    # -- 200, but the body cannot be used
    "reply-not-json": WireFault(
        "200 with a page instead of JSON.",
        "Check that base_url is an API, not a proxy.",
        retry=True,
        billable=True,
    ),
    "reply-garbage": WireFault("200 with broken JSON.", _AGAIN, retry=True, billable=True),
    "reply-nan": WireFault("200 with NaN or Infinity in the JSON.", _AGAIN, retry=True, billable=True),
    "reply-doubled-keys": WireFault("200 with JSON keys that stand twice.", _AGAIN, retry=True, billable=True),
    "reply-schema": WireFault(
        "200 with JSON of another shape.", "Check the wire format of this teacher.", retry=True, billable=True
    ),
    "reply-no-choices": WireFault("200 without any choice or content block.", _AGAIN, retry=True, billable=True),
    "reply-error-object": WireFault("200 with an error object inside.", _AGAIN, retry=True, billable=True),
    "reply-empty": WireFault("200 with an empty text.", _AGAIN, retry=True, billable=True),
    # -- usable replies with something odd: kept, and noted
    "usage-missing": WireFault(
        "The reply does not say what it cost; its worst case stays at risk.", "None needed.", billable=True
    ),
    "usage-invalid": WireFault(
        "The reply's token counts are impossible; its worst case stays at risk.",
        "None needed.",
        billable=True,
    ),
    "reply-unread": WireFault(
        "The reply came, but this program failed to read it; its worst case stays at risk.",
        "Report it. The bytes are in the ledger and are read from there once the program is mended.",
        billable=True,
    ),
    "model-other": WireFault(
        "Another model answered than was asked.",
        "Check the provider's routing; the row names the model that answered.",
    ),
    "reply-filtered": WireFault("The provider's filter stopped the answer.", "None: the row is rejected and counted."),
    "reply-truncated": WireFault("The answer hit max_tokens.", "None: it is asked again with twice as many."),
    # -- batches
    "batch-expired": WireFault(
        "The batch expired before this item was answered.", "Nothing: the item is asked again by itself.", retry=True
    ),
    "batch-canceled": WireFault(
        "The batch was cancelled before this item was answered.", "Run the same command to ask it again.", retry=True
    ),
    "batch-item-failed": WireFault(
        "The provider failed on this item of a batch.", "Nothing: the item is asked again by itself.", retry=True
    ),
    "batch-line-broken": WireFault(
        "The result line of this item cannot be read, or is not there.",
        "Nothing: the item is asked again by itself.",
        retry=True,
        billable=True,
    ),
    "batch-lost": WireFault(
        "The provider knows nothing of a batch that was submitted.",
        "Nothing: its items are asked again; their worst case stays at risk.",
        retry=True,
        billable=True,
    ),
    "batch-queue-full": WireFault(
        "The provider's queue for batches is full (enqueued tokens).",
        "Nothing: the batch waits. Set batch.max_enqueued_tokens to your account's limit.",
        retry=True,
    ),
    "batch-refused": WireFault(
        "The provider refused the batch as a whole.",
        "Look at the reason in the message; lower batch.max_requests or batch.max_mb if it is about size.",
        fatal=True,
    ),
    "cache-never-hits": WireFault(
        "Prompt caching is asked for and paid for, but no call reads from the cache.",
        "Check that the shared prefix is longer than the model's floor (2,048 tokens are safe), or set cache: off.",
        fatal=True,
    ),
    # -- ledger
    "crashed-in-flight": WireFault(
        "The process ended while the call was open.",
        "None: it is asked again if still needed.",
        retry=True,
        billable=True,
    ),
}

STATUS_CODES = {
    400: "bad-request",
    401: "unauthorized",
    402: "credit-exhausted",
    403: "forbidden",
    404: "model-unknown",
    408: "request-timeout",
    409: "conflict",
    413: "request-too-large",
    422: "unprocessable",
    500: "server-error",
    502: "bad-gateway",
    503: "unavailable",
    504: "gateway-timeout",
    529: "overloaded",
}
_SECRET = re.compile(r"(?i)\b(?:(?:sk|pk|key|xai|gsk|hf)[-_][\w-]{8,}|bearer\s+\S+)")


class WireError(TeacherError):
    """One attempt that did not give a usable reply.

    `body` holds the bytes that came, if any; they go into the ledger, never into the message.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        status: int = 0,
        retry_after_s: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(code, redact(detail))
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body

    @property
    def entry(self) -> WireFault:
        return WIRE[self.code]


def redact(text: str) -> str:
    """The text without anything that looks like a key: providers quote keys back in their messages."""
    return _SECRET.sub("[hidden]", text)


def status_code(status: int, body: bytes, has_wait: bool) -> str:
    """The wire code of an HTTP error status."""
    if 300 <= status < 400:
        return "redirect-refused"
    if status == 429:
        if b"insufficient_quota" in body:
            return "quota-exhausted"
        return "rate-limited-wait" if has_wait else "rate-limited"
    return STATUS_CODES.get(status, "status-unexpected")
