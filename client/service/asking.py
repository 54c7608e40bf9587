"""One call of the service from the command line, and its answer for people."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from client.service.servicer import CODE_KEY
from client.service.token import Token
from client.service.v1 import recommender_pb2 as pb
from client.service.v1.recommender_pb2_grpc import RecommenderStub
from common.errors import Code, ConfigError, HushRecError, ProtocolError, RunError
from common.terminal import print_json

__all__ = ["Asked", "answer", "show"]

_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Asked:
    """What was given on the command line.

    Attributes:
        user: the shopper.
        items: the items.
        query: words.
        categories: of the items of the answer.
        top: most items of the answer; 0 for the method's own number.
        rating: of the event that is recorded; None for none.
    """

    user: str
    items: tuple[str, ...]
    query: str
    categories: tuple[str, ...]
    top: int
    rating: float | None = None


def answer(folder: Path, at: str, roots: Path | None, question: str, asked: Asked) -> Message:
    """Ask the service.

    Args:
        folder: of the client, for its token.
        at: where the service listens.
        roots: PEM file to check it by; None: it has no TLS.
        question: as in `Question`.
        asked: the rest.

    Raises:
        HushRecError: with the code that the service refuses with; `run-not-found`, nothing
            answers there.
    """
    metadata = (("authorization", Token.of(folder).header),)
    name, request = _request(question, asked)
    with _channel(at, roots) as channel:
        call = getattr(RecommenderStub(channel), name)  # type: ignore[no-untyped-call]
        try:
            reply: Message = call(request, timeout=_PATIENCE_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            raise _refused(error, at) from None
    return reply


def _request(question: str, asked: Asked) -> tuple[str, Message]:
    """Method and request."""
    wanted, top = pb.Filter(categories=asked.categories), asked.top
    user, items, first = asked.user, asked.items, next(iter(asked.items), "")
    name = f"ask-{time.time_ns()}"
    event = pb.Event(event_id=name, user_id=user, item_id=first, rating=asked.rating)
    requests: dict[str, tuple[str, Message]] = {
        "recommend": (
            "Recommend",
            pb.RecommendRequest(user_id=user, top_k=top, filter=wanted, context_item_ids=items),
        ),
        "similar": (
            "SimilarItems",
            pb.SimilarItemsRequest(item_id=first, top_k=top, filter=wanted),
        ),
        "bundle": ("Bundle", pb.BundleRequest(item_ids=items, size=top, filter=wanted)),
        "search": ("Search", pb.SearchRequest(query=asked.query, top_k=top, filter=wanted)),
        "explain": (
            "Explain",
            pb.ExplainRequest(user_id=user, item_id=first, context_item_ids=items[1:]),
        ),
        "profile": ("Profile", pb.ProfileRequest(user_id=user)),
        "record": ("RecordEvents", pb.RecordEventsRequest(events=[event])),
    }
    return requests[question]


def show(reply: Message, *, as_json: bool) -> None:
    """Print an answer: one JSON object, or a line for each entry."""
    values = MessageToDict(
        reply, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        if isinstance(value, list):
            for entry in value:
                typer.echo("  ".join(_text(part) for part in entry.values()))
        elif isinstance(value, dict):
            said = ", ".join(f"{key} {_text(part)}" for key, part in value.items() if part != "")
            typer.echo(f"{name}: {said}", err=True)
        else:
            typer.echo(f"{name}: {_text(value)}")


def _text(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _channel(at: str, roots: Path | None) -> grpc.Channel:
    options = (("grpc.enable_http_proxy", 0),)
    if roots is None:
        return grpc.insecure_channel(at, options)
    try:
        credentials = grpc.ssl_channel_credentials(roots.read_bytes())
    except OSError as error:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND, f"cannot be read: {error.strerror}.", where=str(roots)
        ) from None
    return grpc.secure_channel(at, credentials, options)


def _refused(error: grpc.RpcError, at: str) -> HushRecError:
    """What a call ended with, as the service meant it."""
    said: Any = error  # a call is an error and a call: the stubs know no such class
    code = str(dict(said.trailing_metadata() or ()).get(CODE_KEY, ""))
    if code in set(map(str, Code)):
        return ProtocolError(Code(code), said.details() or "", where=at)
    return RunError(
        Code.SERVER_UNREACHABLE,
        "nothing answers there, or not in time.",
        where=at,
        remedy="Is `hushrec client run` or `hushrec client serve` running, and listens there?",
    )
