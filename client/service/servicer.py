"""The methods of `hushrec.v1.Recommender`: each asks for its answer, and errors become statuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import grpc

from client.service import answers
from client.service.desk import Desk
from client.service.recording import record_events
from client.service.v1 import recommender_pb2 as pb
from client.service.v1 import recommender_pb2_grpc
from common.errors import Code, HushRecError

__all__ = ["CODE_KEY", "Servicer", "refuse", "status_of"]

CODE_KEY: Final = "hushrec-code"
"""Trailing metadata with HushRec's code."""
_LOG: Final = logging.getLogger("hushrec.service")
_STATUS: Final = {
    Code.REQUEST_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Code.SERVICE_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
    Code.CATALOGUE_MISMATCH: grpc.StatusCode.NOT_FOUND,
    Code.DISK_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.INTERNAL: grpc.StatusCode.INTERNAL,
}
Reply = TypeVar("Reply")


def status_of(code: Code) -> grpc.StatusCode:
    """The gRPC status of a code; what the folder lacks is `FAILED_PRECONDITION`."""
    return _STATUS.get(code, grpc.StatusCode.FAILED_PRECONDITION)


def refuse(context: grpc.ServicerContext, error: HushRecError) -> NoReturn:
    """End a call with an error: status, text, and the code as trailing metadata."""
    context.set_trailing_metadata(((CODE_KEY, str(error.code)),))
    place = f"{error.where}: " if error.where else ""
    context.abort(status_of(error.code), f"{place}{error.message} {error.remedy}".strip())


class Servicer(recommender_pb2_grpc.RecommenderServicer):
    """Answers from one client's folder."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def Recommend(  # noqa: N802
        self, request: pb.RecommendRequest, context: grpc.ServicerContext
    ) -> pb.RecommendReply:
        """What a shopper may like next."""
        return _answered(context, lambda: answers.recommend(self._desk, request))

    def SimilarItems(  # noqa: N802
        self, request: pb.SimilarItemsRequest, context: grpc.ServicerContext
    ) -> pb.SimilarItemsReply:
        """Items whose vectors point the same way."""
        return _answered(context, lambda: answers.similar_items(self._desk, request))

    def Bundle(  # noqa: N802
        self, request: pb.BundleRequest, context: grpc.ServicerContext
    ) -> pb.BundleReply:
        """Items that complete a set."""
        still = _still(context)
        return _answered(context, lambda: answers.bundle(self._desk, request, still))

    def Search(  # noqa: N802
        self, request: pb.SearchRequest, context: grpc.ServicerContext
    ) -> pb.SearchReply:
        """Items by words."""
        return _answered(context, lambda: answers.search(self._desk, request))

    def Explain(  # noqa: N802
        self, request: pb.ExplainRequest, context: grpc.ServicerContext
    ) -> pb.ExplainReply:
        """Which of a shopper's own items make the score of another."""
        still = _still(context)
        return _answered(context, lambda: answers.explain(self._desk, request, still))

    def RecordEvents(  # noqa: N802
        self, request: pb.RecordEventsRequest, context: grpc.ServicerContext
    ) -> pb.RecordEventsReply:
        """Keep what shoppers did."""
        return _answered(context, lambda: record_events(self._desk, request))

    def Profile(  # noqa: N802
        self, request: pb.ProfileRequest, context: grpc.ServicerContext
    ) -> pb.ProfileReply:
        """What is known here about a shopper."""
        return _answered(context, lambda: answers.profile(self._desk, request))


class _NobodyWaitsError(Exception):
    """The call was cancelled, or its time is over."""


def _answered(context: grpc.ServicerContext, work: Callable[[], Reply]) -> Reply:
    """Do the work of a call. Whatever goes wrong has a status and a code, and quotes nothing."""
    try:
        _still(context)()
        return work()
    except HushRecError as error:
        failed = error
    except _NobodyWaitsError:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "The call's time is over.")
    except Exception as error:  # noqa: BLE001  the last resort: its text could quote a shopper
        _LOG.error("a call failed with what nobody foresaw", exc_info=error)
        failed = HushRecError(
            Code.INTERNAL, "something that nobody foresaw.", remedy="Please report it."
        )
    refuse(context, failed)


def _still(context: grpc.ServicerContext) -> Callable[[], None]:
    """Raises when nobody waits for the call any more."""

    def check() -> None:
        left = context.time_remaining()
        if not context.is_active() or (left is not None and left <= 0):
            raise _NobodyWaitsError

    return check
