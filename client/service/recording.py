"""`RecordEvents`: what can be used is written, and what cannot is named with its reason."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from client.service.checks import LONGEST_ID, MOST_EVENTS, check_list
from client.service.desk import Desk
from client.service.recorded import Event
from client.service.shelf import Shelf
from client.service.v1 import recommender_pb2 as pb

__all__ = ["record_events"]

_AHEAD: Final = timedelta(days=1)
"""An event may be so much later than this machine's clock, as in an import."""


def record_events(desk: Desk, request: pb.RecordEventsRequest) -> pb.RecordEventsReply:
    """Write events. Needs no model.

    Raises:
        HushRecError: `request-invalid`, too many events; `disk-full` and other codes of the
            disk: then none was written.
    """
    check_list(request.events, MOST_EVENTS, "events")
    shelf, now = desk.stock.shelf, desk.clock()
    refused: list[pb.RefusedEvent] = []
    kept: list[tuple[int, Event]] = []
    for index, sent in enumerate(request.events):
        event = _event(sent)
        fault = _fault(event, sent, shelf, now)
        if fault is None:
            kept.append((index, event))
        else:
            refused.append(_refused(index, event, *fault))
    written = desk.recorded.write([event for _, event in kept], _microseconds(now))
    refused += [_refused(*kept[place], "event_id", "conflict") for place in written.conflicts]
    refused.sort(key=lambda one: one.index)
    return pb.RecordEventsReply(
        recorded=written.recorded, repeated=written.repeated, refused=refused
    )


def _event(sent: pb.Event) -> Event:
    time = sent.time.seconds * 10**6 + sent.time.nanos // 1000 if sent.HasField("time") else None
    ids = (sent.event_id.strip(), sent.user_id.strip(), sent.item_id.strip())
    rating = sent.rating if sent.HasField("rating") else None
    return Event(*ids, microseconds=time, rating=rating)


def _fault(event: Event, sent: pb.Event, shelf: Shelf, now: datetime) -> tuple[str, str] | None:
    """Field and reason of the first thing that is wrong."""
    for field in ("event_id", "user_id", "item_id"):
        text = getattr(event, field)
        if not text:
            return field, "missing"
        if len(text) > LONGEST_ID:
            return field, "too-long"
    if event.item_id not in shelf:
        return "item_id", "unknown-item"
    faults = {"time": _time_fault(event, sent, now), "rating": _rating_fault(event.rating)}
    return next(((field, reason) for field, reason in faults.items() if reason), None)


def _time_fault(event: Event, sent: pb.Event, now: datetime) -> str | None:
    if event.microseconds is None:
        return None
    if not 0 <= sent.time.nanos < 10**9:
        return "no-time"
    if event.microseconds < 0:
        return "before-1970"
    return "in-the-future" if event.microseconds > _microseconds(now + _AHEAD) else None


def _rating_fault(rating: float | None) -> str | None:
    """As of an import: what is no weight in a file is no rating here."""
    if rating is None:
        return None
    if not math.isfinite(rating):
        return "not-finite"
    return None if rating > 0 else "not-positive"


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * 10**6)


def _refused(index: int, event: Event, field: str, reason: str) -> pb.RefusedEvent:
    return pb.RefusedEvent(index=index, event_id=event.event_id, field=field, reason=reason)
