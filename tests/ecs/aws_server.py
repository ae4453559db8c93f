"""A server on loopback that answers like AWS, and refuses what botocore's own service models don't allow.

What no answer is given for goes on to a moto server, if there is one, and comes back as moto has it. moto 5.2.5 lacks,
or answers emptily: ec2.GetSpotPlacementScores, ec2's DryRun of RunInstances with an image from a parameter,
autoscaling.DescribeScalingActivities, iam.SimulatePrincipalPolicy, service-quotas of ec2 and fargate, and all that
fails for want of capacity or of a quota.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model as motos_model
from werkzeug.datastructures import Headers, MultiDict

from tests.loopback import LoopbackServer

KEY, SECRET = "AKIDEXAMPLE", "secret"
_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<name>[^/]+)/aws4_request")
_SERVICES = {"servicequotas": "service-quotas"}  # signing names that aren't the service's
_OF_S3 = {("HEAD", ""): "HeadBucket", ("GET", "tagging"): "GetBucketTagging"}
"""Of S3, whose operations are paths: what is asked of a bucket beside its objects (tests/s3_server.py has those)."""

_AGEING = frozenset({"InstanceType"})
"""Enumerations that clients don't hold against answers, and that AWS adds to all the time."""


class NotSo(Exception):
    """What the service's model doesn't allow."""


@dataclass(frozen=True)
class Asked:
    """One request that was well-formed. ``id``: ``ec2.DescribeInstances``; times: seconds on the server's clock."""

    id: str
    region: str
    params: Mapping[str, Any]
    begun: float
    ended: float = 0.0


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error. ``drop``: the connection is closed instead. ``more``: what else a JSON error says."""

    code: str = ""
    message: str = ""
    status: int = 400
    drop: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


Answer = Callable[[Asked], Any] | Mapping[str, Any] | Refusal


@dataclass
class _Request:
    service: str
    model: OperationModel
    region: str
    params: dict[str, Any] = field(default_factory=dict)


class AwsServer(LoopbackServer[Asked]):
    """``answers``: by ``service.Operation``: a whole answer, a function, or a refusal. ``faults``: refusals that come
    first, one a request. ``moto``: host and port of what answers the rest. ``wrong``: what isn't as the models have it,
    in requests and in this server's own answers; a test looks that it is empty.
    """

    def __init__(self, latency_s: float = 0.0, moto: tuple[str, int] | None = None) -> None:
        super().__init__(latency_s)
        self.answers: dict[str, Answer] = {}
        self.faults: dict[str, list[Refusal]] = {}
        self._moto = moto

    @property
    def endpoint(self) -> str:
        """For all clients' ``endpoint_url``."""
        return self.address

    def answer(self, handler: BaseHTTPRequestHandler, sent: bytes) -> None:
        """One request."""
        begun = time.monotonic()
        time.sleep(self.latency_s)
        try:
            request = _read(handler, sent)
            asked = Asked(f"{request.service}.{request.model.name}", request.region, request.params, begun)
            answer = self._answer(request, asked)
        except (NotSo, AssertionError) as error:  # an answer may be a function of a test, that asserts
            self.wrong.append(str(error) or "an assertion failed")
            _send(handler, 400, str(error).encode(), {})
            return
        with self._lock:
            # Before the answer is sent: whoever has it, sees the request counted.
            self.asked.append(replace(asked, ended=time.monotonic()))
        if answer is None:
            self._pass_on(handler, sent)
        elif isinstance(answer, Refusal):
            if answer.drop:
                handler.close_connection = True
                handler.connection.close()
                return
            _send(handler, answer.status, *_error(request.model.service_model, answer))
        else:
            protocol = str(request.model.service_model.metadata["protocol"])
            operation = motos_model(request.service).operation_model(request.model.name)
            said = get_serializer_class(request.service, protocol)(operation).serialize(dict(answer))
            body = said["body"]
            data = body if isinstance(body, bytes) else str(body).encode()
            _send(handler, said["status_code"], data, {str(k): str(v) for k, v in said["headers"].items()})

    def _answer(self, request: _Request, asked: Asked) -> Mapping[str, Any] | Refusal | None:
        with self._lock:
            faults = self.faults.get(asked.id)
            if faults:
                return faults.pop(0)
        answer: Any = self.answers.get(asked.id)
        if callable(answer):
            answer = answer(asked)
        if answer is None:
            if self._moto is None:
                raise NotSo(f"nobody said what {asked.id} answers: {dict(asked.params)}")
            return None
        if not isinstance(answer, Refusal):
            _check(answer, request.model.output_shape, f"the answer to {asked.id}")
        return answer  # type: ignore[no-any-return]

    def _pass_on(self, handler: BaseHTTPRequestHandler, sent: bytes) -> None:
        assert self._moto is not None
        connection = http.client.HTTPConnection(*self._moto, timeout=30)
        try:
            connection.request(handler.command, handler.path, sent, dict(handler.headers.items()))
            said = connection.getresponse()
            _send(handler, said.status, said.read(), {"Content-Type": said.headers.get("Content-Type", "")})
        finally:
            connection.close()


@lru_cache(maxsize=32)
def service_model(service: str) -> ServiceModel:
    """botocore's own model of a service."""
    return botocore.session.get_session().get_service_model(service)


def _read(handler: BaseHTTPRequestHandler, sent: bytes) -> _Request:
    scope = _SCOPE.search(handler.headers.get("Authorization", ""))
    if scope is None or scope["key"] != KEY:
        raise NotSo(f"a request that isn't signed: {handler.path}")
    service = _SERVICES.get(scope["name"], scope["name"])
    model = service_model(service)
    if service == "s3":
        path, _, query = handler.path.partition("?")
        operation = model.operation_model(_OF_S3.get((handler.command, query)) or f"{handler.command} {handler.path}")
        return _Request(service, operation, scope["region"], {"Bucket": path.strip("/")})
    protocol = str(model.metadata["protocol"])
    labels: dict[str, str] = {}
    if protocol == "rest-json":
        path, _, query = handler.path.partition("?")
        values = MultiDict(parse_qsl(query, keep_blank_values=True))
        name, labels = _by_path(model, handler.command, path)
    else:
        values = MultiDict(parse_qsl(sent.decode(), keep_blank_values=True))
        name = values.get("Action") or handler.headers.get("X-Amz-Target", "").rpartition(".")[2]
    operation = model.operation_model(name)
    # moto reads requests, and writes answers, by its own reading of the same models.
    parser = PROTOCOL_PARSERS[protocol](motos_model(service).operation_model(name))
    params = parser.parse(
        {
            "method": handler.command,
            "values": values,
            "headers": Headers(list(handler.headers.items())),
            "body": sent,
            "url_path": handler.path,
            "url_params": labels,
        }
    )
    _check(params, operation.input_shape, f"the request {service}.{name}")
    return _Request(service, operation, scope["region"], params)


def _by_path(model: ServiceModel, method: str, path: str) -> tuple[str, dict[str, str]]:
    """The operation that a service of paths has there, and what the path names."""
    for name in model.operation_names:
        http = model.operation_model(name).http
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(http["requestUri"]))
        if http["method"] == method and (found := re.fullmatch(pattern, path)):
            return name, {key: unquote(value) for key, value in found.groupdict().items()}
    raise NotSo(f"{model.service_name} has no {method} {path}")


def _check(value: Mapping[str, Any], shape: Shape | None, what: str) -> None:
    """Raises NotSo for what isn't in the shape: members, types, lengths, and words that an enumeration hasn't."""
    if shape is None:
        if value:
            raise NotSo(f"{what}: has nothing in it by its model")
        return
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        raise NotSo(f"{what}: {report.generate_report()}")
    for path, word, allowed in _words(value, shape, ""):
        if word not in allowed:
            raise NotSo(f"{what}: {path} is {word!r}, and not one of {', '.join(allowed)}")


def _words(value: Any, shape: Shape, path: str) -> Iterator[tuple[str, str, list[str]]]:
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            yield from _words(member, shape.members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for member in value:
            yield from _words(member, shape.member, path)
    elif isinstance(shape, MapShape):
        for member in value.values():
            yield from _words(member, shape.value, path)
    elif isinstance(shape, StringShape) and shape.enum and shape.name not in _AGEING:
        yield path, value, shape.enum


def _error(model: ServiceModel, refusal: Refusal) -> tuple[bytes, dict[str, str]]:
    code, message = refusal.code, refusal.message
    protocol = model.metadata["protocol"]
    if protocol == "json":
        said = {"__type": code, "message": message, **refusal.more}
        return json.dumps(said).encode(), {"Content-Type": "application/x-amz-json-1.1"}
    if protocol == "rest-json":
        return json.dumps({"message": message}).encode(), {"x-amzn-ErrorType": code}
    error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    if protocol == "rest-xml":
        text = error
    elif protocol == "ec2":
        text = f"<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"
    else:
        text = f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"
    return text.encode(), {"Content-Type": "text/xml"}


def _send(handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: Mapping[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        if name.lower() != "content-length":
            handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)
