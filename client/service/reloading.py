"""What lies on the disk and is replaced while it is in use: read again, and swapped whole."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from common.errors import Code, HushRecError

__all__ = ["Reloading"]

T = TypeVar("T")
_RETRY_SECONDS: Final = 10.0
_LOG: Final = logging.getLogger("hushrec.service")


class Reloading(Generic[T]):
    """A value of files. For many threads: one of them loads, the others go on with the old value.

    What cannot be loaded, whatever the reason, is reported once, and looked at again after ten
    seconds; the value before it stays.

    Args:
        stamp: changes whenever the files do; cheap.
        load: reads them.
    """

    def __init__(self, stamp: Callable[[], Hashable], load: Callable[[], T]) -> None:
        self._stamp, self._load = stamp, load
        self._loading = threading.Lock()
        self._loaded: tuple[Hashable, T] | None = None
        self._failed: tuple[Hashable, Exception, float] | None = None

    def get(self) -> T:
        """The newest value that could be loaded.

        Raises:
            Exception: none ever could; what the last one failed with.
        """
        stamp, loaded = self._stamp(), self._loaded
        if self._is_hopeless(stamp):
            return self._old()
        if loaded is not None and loaded[0] == stamp:
            return loaded[1]
        if not self._loading.acquire(blocking=loaded is None):
            return self._old()
        try:
            return self._renewed()
        finally:
            self._loading.release()

    @property
    def held_back(self) -> str:
        """Code of why the newest files are not in use; empty if they are."""
        failed = self._failed
        return "" if failed is None else str(_code(failed[1]))

    def _renewed(self) -> T:
        stamp = self._stamp()  # before the files are read: a change meanwhile is seen next time
        if self._loaded is not None and self._loaded[0] == stamp:
            self._failed = None
            return self._loaded[1]
        try:
            value = self._load()
        except Exception as error:  # noqa: BLE001  unforeseen ones would come with every call
            self._note(stamp, error)
            return self._old()
        self._loaded, self._failed = (stamp, value), None
        return value

    def _old(self) -> T:
        failed, loaded = (
            self._failed,
            self._loaded,
        )  # in this order: a success sets them in the other
        if loaded is not None:
            return loaded[1]
        if failed is not None:
            raise failed[1].with_traceback(None)
        raise RuntimeError("nothing was loaded, and nothing failed")

    def _note(self, stamp: Hashable, error: Exception) -> None:
        """Remember a failure, and say it if it is a new one."""
        before = self._failed
        if before is None or (before[0], _code(before[1])) != (stamp, _code(error)):
            unforeseen = None if isinstance(error, HushRecError) else error
            _LOG.error(
                "new files cannot be used, the old ones are kept: %s", error, exc_info=unforeseen
            )
        self._failed = (stamp, error.with_traceback(None), time.monotonic())

    def _is_hopeless(self, stamp: Hashable) -> bool:
        """Whether these very files could not be loaded a moment ago."""
        failed = self._failed
        if failed is None or failed[0] != stamp:
            return False
        return time.monotonic() - failed[2] < _RETRY_SECONDS


def _code(error: Exception) -> Code:
    return error.code if isinstance(error, HushRecError) else Code.INTERNAL
