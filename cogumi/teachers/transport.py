"""HTTP to providers: one deadline, one size cap, no redirects, and a code for each way the wire can fail.

aiohttp, since it costs the least CPU a request of the clients measured (docs/benchmarks/client.md).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

import aiohttp

from cogumi import __version__
from cogumi.errors import InputError
from cogumi.teachers.wire_errors import WireError

MOST_REPLY_BYTES = 16 * 1024 * 1024
_USER_AGENT = f"cogumi/{__version__}"


@dataclass(frozen=True, slots=True)
class RawReply:
    """A reply whose last byte was read: status, headers, decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpTransport:
    """Keep-alive connections to one provider. `aclose()` when done. `hide`, our key, is cut out of every reply."""

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        timeout_s: float,
        allow_loopback_http: bool = False,
        hide: str = "",
    ) -> None:
        self.base_url = check_url(base_url, allow_loopback_http)
        self._headers = {"user-agent": _USER_AGENT, "content-type": "application/json", **headers}
        self._hide = hide.encode()
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes) -> RawReply:
        """Send one request and read the whole reply. Raises WireError with the code of what went wrong."""
        return await self._call("POST", path, body)

    async def get(self, path: str) -> RawReply:
        """Read one resource, as `post` does."""
        return await self._call("GET", path, None)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(self, method: str, path: str, body: bytes | None) -> RawReply:
        session = self._open()
        try:
            async with session.request(method, self.base_url + path, data=body, allow_redirects=False) as response:
                body_read = await _read_capped(response)
                return RawReply(response.status, response.headers, self._without_secret(body_read))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _translate(error) from error

    def _without_secret(self, body: bytes) -> bytes:
        """The body as it came, but for our own key: providers quote it back, and bodies go into the ledger."""
        return body.replace(self._hide, b"[hidden]") if self._hide and self._hide in body else body

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=300)
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                timeout=self._timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def check_url(base_url: str, allow_loopback_http: bool) -> str:
    """The URL without a trailing slash, if keys may be sent there. Raises InputError url-refused."""
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError("url-refused", f"{base_url!r}: {error}") from None
    if not host or parts.username or parts.password or parts.query or parts.fragment:
        raise InputError("url-refused", f"{host or 'no host'}: only scheme, host, port and path are allowed")
    if _forbidden_address(host):
        raise InputError("url-refused", f"{host}: a link-local or metadata address")
    if parts.scheme == "https" or (parts.scheme == "http" and allow_loopback_http and _is_loopback(host)):
        return base_url.rstrip("/")
    raise InputError("url-refused", f"{parts.scheme}://{host}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait from retry-after-ms or Retry-After (seconds or HTTP date); None where absent or unreadable."""
    millis, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if millis is not None:
            return max(0.0, float(millis) / 1000)
        if value is None:
            return None
        return max(0.0, float(value))
    except ValueError:
        return _seconds_until(value or "")


def _seconds_until(date: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time())
    except (ValueError, TypeError):
        return None


async def _read_capped(response: aiohttp.ClientResponse) -> bytes:
    """The body, never more than the cap in memory: a compressed bomb and an endless stream both stop here."""
    length = response.content_length
    if length is not None and length <= MOST_REPLY_BYTES and "content-encoding" not in response.headers:
        return await response.read()
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MOST_REPLY_BYTES:
            response.close()
            raise WireError("reply-too-large", f"more than {MOST_REPLY_BYTES:,} bytes", response.status)
        parts.append(part)
    return b"".join(parts)


def _translate(error: BaseException) -> WireError:
    """aiohttp's exceptions as wire codes; the most particular class first."""
    text = str(error) or type(error).__name__
    for kind, code in _KINDS:
        if isinstance(error, kind):
            return WireError(code, text)
    if isinstance(error, aiohttp.ClientConnectorError):
        return WireError("host-unknown" if isinstance(error.os_error, socket.gaierror) else "connect-refused", text)
    if isinstance(error, aiohttp.ClientPayloadError):
        return WireError(
            "reply-encoding"
            if "content-encoding" in text.lower() or "decompress" in text.lower()
            else "reply-cut-short",
            text,
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return WireError("http-malformed", text)
    return WireError("reset-before-reply", text)


_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ConnectionTimeoutError, "connect-timeout"),
    (asyncio.TimeoutError, "deadline-passed"),
    (aiohttp.ClientConnectorDNSError, "host-unknown"),
    (aiohttp.ClientSSLError, "tls-failed"),
    (aiohttp.ContentTypeError, "reply-not-json"),
)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forbidden_address(host: str) -> bool:
    try:
        address = (
            ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(host)))
            if ":" not in host
            else ipaddress.ip_address(host)
        )
    except (ValueError, OSError):
        return host == "metadata.google.internal"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_link_local or address.is_unspecified or address.is_multicast
