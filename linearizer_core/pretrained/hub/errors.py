"""What goes wrong between here and the Hub, each in one line: the cause and the fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from linearizer_core.errors import HubError, LinearizerError
from linearizer_core.extras import missing_extra

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_LONGEST = 300


@contextmanager
def hub_calls(what: str) -> Iterator[None]:
    """Calls of huggingface_hub, and nothing else: what they raise becomes a `HubError` that begins with ``what``, the address that was asked for.

    Their progress is shown on a terminal only.
    """
    try:
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # exported at run time only

        with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
            yield
    except LinearizerError:
        raise
    except ModuleNotFoundError as error:
        if (hint := missing_extra(error)) is None:
            raise
        raise HubError(hint) from error
    except Exception as error:
        if (message := _message(error)) is None:
            raise
        raise HubError(f"{what}: {message}") from error


def _message(error: BaseException) -> str | None:
    import httpx2  # what huggingface_hub sends its requests with: a failed connection is an error of this package
    from huggingface_hub import errors

    # Some errors of huggingface_hub only say that there was another one.
    wrapping = errors.RevisionResolutionError, errors.LocalEntryNotFoundError, RuntimeError, ValueError
    while isinstance(error, wrapping) and not isinstance(error, errors.HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    match error:
        case errors.HFValidationError():
            return "this is no name of a repository; write it as ORG/NAME, of letters, digits, '.', '_' and '-'"
        case errors.HfHubHTTPError():
            return _answer(error)
        case errors.OfflineModeIsEnabled():
            return "it is not complete in the cache, and HF_HUB_OFFLINE forbids to fetch it; unset HF_HUB_OFFLINE once, or check HF_HOME"
        case httpx2.HTTPError() | httpx2.InvalidURL():
            return f"{_hub()} cannot be reached ({type(error).__name__}: {_line(str(error))}); check the network, proxies and HF_ENDPOINT, then run it again"
        case errors.FileMetadataError() | ValueError() | LookupError() | TypeError() | AssertionError():
            return f"{_hub()} did not answer as a Hub does ({_line(str(error))}); check HF_ENDPOINT, proxies, and whether this network wants a log-in"
        case errors.EntryNotFoundError() | errors.RevisionResolutionError():
            return "it is not complete in the cache; run it again with a network"
        case OSError(errno=int()):
            where = error.filename or "a file"
            return f"{where} cannot be read or written ({error.strerror}); make room or give rights there, or set HF_HOME to another folder for the cache"
        case OSError() | RuntimeError() | errors.XetDownloadError():
            return f"the transfer broke off ({_line(str(error))}); run it again, what is complete is not sent twice"
    return None


def _answer(error: HfHubHTTPError) -> str:
    """What an answer with an error status means."""
    from huggingface_hub import errors

    status = error.response.status_code
    token = error.response.request.headers.get("authorization", "").rpartition(" ")[2]
    said = _line(error.server_message or "", secret=token)
    match error:
        case errors.GatedRepoError():
            return f"the repository is gated: ask for access on its page at {_hub()}, then {_LOG_IN}"
        case errors.RevisionNotFoundError():
            return "the repository has no such revision; write a branch, a tag or a commit that its page lists"
        case errors.RemoteEntryNotFoundError():
            return f"a file is missing there ({said}); the repository is damaged, its author has to push it again"
        case errors.DisabledRepoError():
            return "the Hub has disabled the repository; use another one"
        case errors.RepositoryNotFoundError():
            return f"there is no such repository at {_hub()}, or you may not see it; check the name, and where it is private {_LOG_IN}"
    if status == 401:
        return f"the Hub wants to know who you are, or does not accept your token ({said or status}); {_LOG_IN}"
    if status == 403:
        return f"your token does not allow this ({said or status}); use one that may read this repository, and write to it for a push"
    if status in (409, 412):
        return f"somebody else changed the repository meanwhile ({said or status}); look at its page, and run it again"
    if status == 429:
        return f"too many requests; {_when_again(error)}, or log in: the limits are higher then"
    if status >= 500:
        return f"{_hub()} has a fault of its own (status {status}); try again later"
    return f"{_hub()} refused (status {status}{': ' if said else ''}{said}); mend what it says"


def _when_again(error: HfHubHTTPError) -> str:
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # exported at run time only

    limit, after = parse_ratelimit_headers(error.response.headers), _line(error.response.headers.get("retry-after", ""))
    if after:
        return f"try again in {after} seconds" if after.isdigit() else f"try again after {after}"
    return f"try again in {limit.reset_in_seconds} seconds" if limit else "try again in a few minutes"


def _hub() -> str:
    from huggingface_hub import HfApi

    return HfApi().endpoint


def _line(text: str, secret: str = "") -> str:
    """Text of a server in one line: without control characters, without the token that was sent to it, and not endless."""
    if secret:
        text = text.replace(secret, "***")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
