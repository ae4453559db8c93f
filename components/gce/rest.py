"""Requests to Google's REST APIs: credentials, time-outs, repeats, pages, and the cloud's own words when one fails."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.gce.api import ApiError
from placement.verdicts import CannotSay

if TYPE_CHECKING:
    import requests
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
Params = Mapping[str, str | tuple[str, ...]]
"""Of a query; a tuple is a parameter that is repeated."""

CONNECT_S, READ_S = 5.0, 15.0
"""A connection that isn't there after 5 s won't be; listings of a whole project take Google a few seconds."""

TRIES = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_THROTTLED = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
"""Compute Engine refuses with 403 and one of these reasons what other APIs refuse with 429."""

_LONGEST_BODY = 4000
_MEND = "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"


class Rest:
    """A caller of Google's APIs; one for all threads.

    ``credentials`` None: the application default ones, looked for at the first request. ``endpoint``: where an API is,
    with ``{host}`` for its host name. `google.auth` is imported at the first request too: it takes 0.3 s, and most
    commands ask Google nothing.
    """

    def __init__(
        self,
        credentials: Credentials | None = None,
        *,
        endpoint: str = "https://{host}",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._given, self._endpoint, self._sleep = credentials, endpoint, sleep
        self._credentials: Credentials | None = None
        self._lock = threading.Lock()
        # Each is used by one thread at a time; what one has connected, another may go on with.
        self._idle: deque[requests.Session] = deque()

    def get(self, host: str, path: str, params: Params | None = None, *, project: str) -> dict[str, Any]:
        """See `ask`."""
        return self.ask("GET", host, path, params, project=project)

    def ask(
        self,
        method: str,
        host: str,
        path: str,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        project: str,
        read_s: float = READ_S,
    ) -> dict[str, Any]:
        """The answer to a request that may be repeated. Raises ApiError; CannotSay where there are no credentials.

        ``project`` pays for the request, where a person's own credentials name no other one.
        """
        url = f"{self._endpoint.format(host=host)}/{path}"
        for tries in range(1, TRIES + 1):
            failed, wait_s = self._once(method, url, params, body, project, read_s)
            if not isinstance(failed, ApiError):
                return failed
            if wait_s is None or tries == TRIES:
                raise failed
            # Half of it by chance, so that threads that were refused together don't come back together.
            backing_off = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
            self._sleep(max(min(wait_s, _LONGEST_WAIT_S), backing_off))
        raise AssertionError("the last try returns or raises")

    def pages(
        self,
        host: str,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        project: str,
        method: str = "GET",
        size: tuple[str, int] = ("maxResults", 500),
    ) -> Iterator[dict[str, Any]]:
        """All pages of a list. ``size``: how this API calls the size of a page, and the most that it allows."""
        asked = {**(params or {}), size[0]: str(size[1])}
        seen: set[str] = set()
        while True:
            page = self.ask(method, host, path, asked, project=project)
            yield page
            token = page.get("nextPageToken")
            if not token:
                return
            if token in seen:
                raise ApiError(f"{host} gave the page {token!r} of {path} twice")
            seen.add(token)
            asked["pageToken"] = token

    def credentials(self) -> Credentials:
        """Fresh ones. Raises CannotSay; ApiError where the token server can't be reached."""
        import google.auth
        import google.auth.exceptions as failures
        from google.auth.transport.requests import Request

        # One thread fetches the token, the others wait for it: 32 requests for one token are 31 too many.
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = self._given or google.auth.default(scopes=[SCOPE])[0]
                if not self._credentials.valid:
                    self._credentials.refresh(Request())  # type: ignore[no-untyped-call]
            except failures.TransportError as error:
                raise ApiError(f"the token server didn't answer: {error}") from error
            except failures.GoogleAuthError as error:
                raise CannotSay(f"no Google credentials: {error}; {_MEND}") from error
            return self._credentials

    # -- one try

    def _once(
        self,
        method: str,
        url: str,
        params: Params | None,
        body: Mapping[str, Any] | None,
        project: str,
        read_s: float,
    ) -> tuple[dict[str, Any] | ApiError, float | None]:
        """The answer; or what went wrong, and after how many seconds at least to try again (None: not at all)."""
        import requests
        from google.auth.exceptions import GoogleAuthError

        headers = {"x-goog-user-project": project} if self._pays_nobody() else {}
        session = self._session()
        try:
            response = session.request(
                method, url, params=params, json=body, headers=headers, timeout=(CONNECT_S, read_s)
            )
        except (requests.RequestException, GoogleAuthError) as error:
            # The session is left to be collected: its connection may be the one that broke.
            return ApiError(f"{method} {url} had no answer: {type(error).__name__}: {error}"), 0.0
        self._idle.append(session)
        if response.ok:
            try:
                answer = response.json() if response.content else {}
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                return ApiError(f"{method} {url} answered with something else than JSON: {response.text[:200]}"), 0.0
            return answer, None
        failed = ApiError(refusal(response.status_code, response.text), response.status_code)
        again = response.status_code in _AGAIN or (response.status_code == 403 and _is_throttled(response.text))
        return failed, _retry_after(response.headers.get("Retry-After", "")) if again else None

    def _session(self) -> requests.Session:
        credentials = self.credentials()
        try:
            return self._idle.pop()
        except IndexError:
            from google.auth.transport.requests import AuthorizedSession

            return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    def _pays_nobody(self) -> bool:
        """Whether these are a person's credentials that name no project: several APIs refuse such requests.

        https://cloud.google.com/docs/authentication/rest#set-billing-project
        """
        from google.oauth2.credentials import Credentials as Person

        credentials = self.credentials()
        return isinstance(credentials, Person) and not credentials.quota_project_id


def refusal(status: int, body: str) -> str:
    """A refusal in the cloud's own words: the message and its reason as Google's clients print them, then the details.

    The first line has the form of Google's Go client (``Error 403: …, forbidden``), which the Pulumi provider prints.
    """
    try:
        error = json.loads(body)["error"]
        message = (
            error["message"] if isinstance(error, dict) else f"{error}: {json.loads(body).get('error_description')}"
        )
    except (ValueError, KeyError, TypeError):
        return f"Error {status}: {body.strip()[:_LONGEST_BODY] or 'an empty answer'}"
    if not isinstance(error, dict):
        return f"Error {status}: {message}"
    reasons = dict.fromkeys(one.get("reason", "") for one in error.get("errors", ()) if isinstance(one, dict))
    first = f"Error {status}: " + ", ".join([str(message), *(reason for reason in reasons if reason)])
    lines = [first]
    if error.get("status"):
        lines.append(f"status: {error['status']}")
    lines += [json.dumps(detail, ensure_ascii=False) for detail in error.get("details", ())]
    return "\n".join(lines)


def errors_of(error: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The errors of an operation, or of an attempt of a group: ``CODE: message``, then the details, one a line."""
    return tuple(error_text(one) for one in (error or {}).get("errors", ()))


def error_text(one: Mapping[str, Any]) -> str:
    """One error, in the cloud's own words."""
    head = ": ".join(str(part) for part in (one.get("code"), one.get("message")) if part)
    details = [json.dumps(detail, ensure_ascii=False) for detail in one.get("errorDetails", ())]
    return "\n".join([head or "an error without a text", *details])


def _is_throttled(body: str) -> bool:
    try:
        found = json.loads(body)["error"].get("errors", ())
        return any(one.get("reason") in _THROTTLED for one in found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _retry_after(value: str) -> float:
    """Seconds; the header's other form, a date, isn't Google's."""
    return float(value) if value.isdigit() else 0.0
