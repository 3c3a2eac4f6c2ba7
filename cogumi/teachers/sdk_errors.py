"""What the openai and anthropic SDKs raise, as wire errors. Both use the same names and are built on httpx2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anthropic
import httpx2
import openai

from cogumi.teachers.transport import retry_after_s
from cogumi.teachers.wire_errors import WireError, status_code


@contextmanager
def translated() -> Iterator[None]:
    """Raise WireError for whatever an SDK raises inside the block."""
    try:
        yield
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        raise _of_status(error.response) from error
    except (openai.APITimeoutError, anthropic.APITimeoutError) as error:
        raise WireError("deadline-passed", str(error)) from error
    except (openai.APIConnectionError, anthropic.APIConnectionError) as error:
        refused = isinstance(error.__cause__, httpx2.ConnectError)
        raise WireError(
            "connect-refused" if refused else "reset-before-reply", str(error.__cause__ or error)
        ) from error
    except (openai.APIResponseValidationError, anthropic.APIResponseValidationError) as error:
        raise WireError("reply-schema", str(error)) from error
    except (openai.OpenAIError, anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
        raise WireError("reply-schema", f"{type(error).__name__}: {error}") from error


def _of_status(response: httpx2.Response) -> WireError:
    body, wait = response.content, retry_after_s(response.headers)
    code = status_code(response.status_code, body, wait is not None)
    return WireError(code, body[:200].decode("utf-8", "replace"), response.status_code, wait, body)
