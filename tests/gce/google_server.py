"""A server on loopback that answers like Google's APIs, and refuses what their own descriptions don't allow."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.gce.discovery import Method, NotSo, method
from tests.loopback import LoopbackServer

TOKEN = "a-token"
_LIST_IN = {
    "compute.regionInstanceGroupManagers.listManagedInstances": "managedInstances",
}
_FILTER = re.compile(r"""(?P<field>[\w.-]+) (?P<how>=|eq) (?P<quote>["'])(?P<value>.*)(?P=quote)""")


@dataclass(frozen=True)
class Asked:
    """One request that was well-formed. ``begun`` and ``ended``: seconds on the server's clock.

    ``repeated``: all values of the parameters that a query may have several times.
    """

    id: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]
    begun: float
    ended: float = 0.0
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """An answer that isn't 200. ``drop``: the connection is closed instead. ``body``: instead of the usual form."""

    status: int = 0
    message: str = ""
    reason: str = ""
    code: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    drop: bool = False


Answer = Callable[[Asked], Any] | Mapping[str, Any] | list[Any] | Refusal


class GoogleServer(LoopbackServer[Asked]):
    """``answers``: by method id (``compute.regions.list``): a list's items, a whole answer, a function, or a refusal.

    ``faults``: refusals that come first, one a request. ``page``: how many items a page has at most. ``wrong``: what
    isn't as Google describes it, in requests and in this server's own answers; a test looks that it is empty.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        super().__init__(latency_s)
        self.answers: dict[str, Answer] = {}
        self.faults: dict[str, list[Refusal]] = {}
        self.page = 500

    @property
    def endpoint(self) -> str:
        """For `components.gce.rest.Rest`."""
        return f"{self.address}/{{host}}"

    def answer(self, handler: BaseHTTPRequestHandler, sent: bytes) -> None:
        """One request."""
        begun = time.monotonic()
        time.sleep(self.latency_s)
        url = urlsplit(handler.path)
        host, _, path = url.path.lstrip("/").partition("/")
        pairs = parse_qsl(url.query, keep_blank_values=True)
        query = dict(pairs)
        try:
            found, parameters = method(host, handler.command, unquote(path))
            repeated = found.check_query(pairs)
            body = json.loads(sent) if sent else None
            found.check_body(body)
            if handler.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise NotSo(f"{found.id} came without the token")
            asked = Asked(found.id, parameters, query, body, dict(handler.headers.items()), begun, repeated=repeated)
            answer = self._answer(found, asked)
        except NotSo as error:
            self.wrong.append(str(error))
            self._send(handler, Refusal(400, str(error), "badRequest"))
            return
        with self._lock:
            # Before the answer is sent: whoever has it, sees the request counted.
            self.asked.append(replace(asked, ended=time.monotonic()))
        self._send(handler, answer)

    def _answer(self, found: Method, asked: Asked) -> Any:
        with self._lock:
            faults = self.faults.get(asked.id)
            if faults:
                return faults.pop(0)
        answer: Any = self.answers.get(asked.id, Refusal(404, f"The resource {asked.path} was not found", "notFound"))
        if callable(answer):
            answer = answer(asked)
        if isinstance(answer, Refusal):
            return answer
        if isinstance(answer, list):
            answer = self._page(asked, answer)
        found.check_answer(answer)
        return found.masked(answer, asked.query["fields"]) if "fields" in asked.query else answer

    def _page(self, asked: Asked, items: list[Any]) -> dict[str, Any]:
        fitting = [one for one in items if _fits(one, asked.query.get("filter", ""))]
        size = min(self.page, int(asked.query.get("maxResults", 500)))
        first = int(asked.query.get("pageToken", "0").removeprefix("from-"))
        here = fitting[first : first + size]
        page: dict[str, Any] = {"nextPageToken": f"from-{first + size}"} if first + size < len(fitting) else {}
        if asked.id.endswith(".aggregatedList"):
            kind = asked.id.split(".")[1].replace("globalOperations", "operations")
            empty = {
                "warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope on this page."}
            }
            scopes: dict[str, Any] = {"zones/us-nowhere1-a": empty}
            for one in here:
                link = "/".join(str(one.get("zone") or one.get("region") or "global").split("/")[-2:])
                scopes.setdefault(link, {}).setdefault(kind, []).append(one)
            return {**page, "items": scopes}
        return {**page, _LIST_IN.get(asked.id, "items"): here} if here else page

    def _send(self, handler: BaseHTTPRequestHandler, answer: Any) -> None:
        if isinstance(answer, Refusal):
            if answer.drop:
                handler.close_connection = True
                handler.connection.close()
                return
            error: dict[str, Any] = {"code": answer.status, "message": answer.message}
            if answer.reason:
                error["errors"] = [{"message": answer.message, "domain": "global", "reason": answer.reason}]
            if answer.code:
                error["status"] = answer.code
            if answer.details:
                error["details"] = list(answer.details)
            data = (answer.body or json.dumps({"error": error})).encode()
            status, headers = answer.status, answer.headers
        else:
            data, status, headers = json.dumps(answer).encode(), 200, {}
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


def _fits(item: Mapping[str, Any], wanted: str) -> bool:
    """Whether a list's filter takes an item: one comparison is all that is used. Raises NotSo for other forms."""
    if not wanted:
        return True
    found = _FILTER.fullmatch(wanted)
    if found is None:
        raise NotSo(f"Invalid value for field 'filter': {wanted!r}")
    value: Any = item
    for name in found["field"].split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if found["how"] == "=":
        return bool(value == found["value"])
    return re.fullmatch(found["value"], str(value or "")) is not None
