"""From a call to its request: how long one is waited for, and how many are worked on.

gRPC's own handlers wait for a request in the thread that would work on it, for as long as the
caller likes to send it. Here a call has a thread while it waits and a worker only once its
request is there; what does not come in time is ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from client.service.limits import Limits

if TYPE_CHECKING:  # generic in its stubs alone
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Patience", "Reception"]

_Parse: TypeAlias = Callable[[bytes], Any]
_NOT_ONE: Final = "The call has no request, or one that cannot be read."
_FULL: Final = "More calls at a time than the service takes on."


class Patience:
    """Ends calls whose request does not come. Use as a context manager: it has a thread.

    Args:
        seconds: that each of them has.
        most: of them at a time: one more ends the one that has waited longest; None for any.
    """

    def __init__(self, seconds: float, most: int | None = None) -> None:
        self._seconds, self._most = seconds, most
        self._changed = threading.Condition()
        self._waiting: dict[grpc.ServicerContext, float] = {}  # the longest first
        self._closed = False
        self._watcher = threading.Thread(target=self._watch, name="patience", daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._watcher.join()

    def request(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        """The request of a call, None if it has none.

        Raises:
            grpc.RpcError: the call ended meanwhile, by its caller or by this.
        """
        self._begin(context)
        try:
            return next(messages, None)
        finally:
            with self._changed:
                self._waiting.pop(context, None)

    def _begin(self, context: grpc.ServicerContext) -> None:
        with self._changed:
            if self._most is not None and len(self._waiting) >= self._most:
                self._end_first()
            if not self._waiting:
                self._changed.notify()
            self._waiting[context] = time.monotonic() + self._seconds

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                end = next(iter(self._waiting.values()), None)
                left = None if end is None else end - time.monotonic()
                if left is None or left > 0:
                    self._changed.wait(left)
                else:
                    self._end_first()

    def _end_first(self) -> None:
        context = next(iter(self._waiting))
        del self._waiting[context]
        context.cancel()


class Reception:
    """Where calls wait. Use as a context manager.

    Guarantee:
        Who has no token holds no worker, and none of the calls that are taken on: their calls
        are ended unread, or wait among the health checks.

    Args:
        limits: see there.
        workers: calls that are worked on at a time.
        concurrent: calls that are taken on at a time.
    """

    def __init__(self, limits: Limits, workers: int, concurrent: int) -> None:
        self._calls = Patience(limits.request_seconds)
        self._checks = Patience(limits.request_seconds, limits.checks)
        self._threads = ExitStack()
        self._room = threading.Semaphore(concurrent)
        self._workers = threading.Semaphore(workers)

    def __enter__(self) -> Self:
        self._threads.enter_context(self._calls)
        self._threads.enter_context(self._checks)
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.close()

    def caller(self, handler: Handler) -> Handler:
        """A unary handler for those who have the token."""
        answer, parse = _of(handler)

        def work(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            if not self._room.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _FULL)
            try:
                request = _read(self._calls, parse, messages, context)
                with self._workers:
                    return answer(request, context)
            finally:
                self._room.release()

        return grpc.stream_unary_rpc_method_handler(work, None, handler.response_serializer)

    def check(self, handler: Handler) -> Handler:
        """A unary handler for everybody, which takes no time."""
        answer, parse = _of(handler)

        def work(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            return answer(_read(self._checks, parse, messages, context), context)

        return grpc.stream_unary_rpc_method_handler(work, None, handler.response_serializer)


def _of(handler: Handler) -> tuple[Callable[..., Any], _Parse]:
    if handler.unary_unary is None or handler.request_deserializer is None:
        raise TypeError("the service has unary methods alone")
    return handler.unary_unary, handler.request_deserializer


def _read(
    patience: Patience, parse: _Parse, messages: Iterator[bytes], context: grpc.ServicerContext
) -> Any:
    content = patience.request(messages, context)
    if content is None:
        _abort(context)
    try:
        return parse(content)
    except DecodeError:
        _abort(context)


def _abort(context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, _NOT_ONE)
