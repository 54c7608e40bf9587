"""Calls to a SuperLink that wait for it: one line when it is away, one when it is back.

Before the first answer, what a person has to mend is an error. After it the node keeps
trying, whatever it is: a server whose certificate has ended, or a clock that jumped, is mended
without anybody at the shop.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpx
from cryptography import x509
from flwr.supercore.run import RunNotRunningException

from client.jitter import spread
from client.launcher.endings import Expelled, clock_skew, skew_of, unreachable
from client.launcher.shown import distrusted
from common.certificates import Certificate
from common.errors import HushRecError
from common.logs import Public, fields

__all__ = ["Link"]

_LOG: Final = logging.getLogger("hushrec.launcher")
_Q = TypeVar("_Q")
_A = TypeVar("_A")
_LONGEST_WAIT: Final = 10.0
"""Between two tries, seconds."""
_BUSY: Final = frozenset({429, 502, 503, 504})
"""Nobody's answer to the call: the server, or what stands before it, cannot just now."""


@dataclass
class Link:
    """How a node asks its SuperLink.

    Attributes:
        address: host and port.
        roots: certificates in PEM that the server's is checked against; None for the system's.
        met: the server has answered once, so that nothing ends the node but the server's word.
    """

    address: str
    roots: bytes | None = None
    met: bool = False
    _away_since: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(
        self,
        call: Callable[[_Q], _A],
        request: _Q,
        *,
        patient: bool = False,
        told: Collection[int] = (),
    ) -> _A:
        """The answer, however long it takes.

        Args:
            call: one of Flower's calls.
            request: what it takes.
            patient: the call is about no run: wait also where the server says that it cannot;
                else that is raised.
            told: statuses that a patient caller wants to know.

        Raises:
            ConfigError: `certificate-invalid` or `clock-skew`, and nothing was answered yet.
            Expelled: the server does not take the signature.
            RunNotRunningException: the run is over, or is none of this node's; never where the
                call is about none.
            httpx.HTTPStatusError: the server refuses the request.
        """
        for tried, wait in enumerate(_waits()):
            try:
                return self.once(call, request)
            except httpx.HTTPStatusError as error:
                reason = self._refusal(error.response, patient=patient, told=told)
                if reason is None:
                    raise
            except (httpx.TransportError, ValueError) as error:
                reason = self._failure(error)
            if tried > 0:  # a connection that was idle may have been closed meanwhile
                self._is_away(reason)
            time.sleep(wait)
        raise RuntimeError("waits never end")  # pragma: no cover

    def once(self, call: Callable[[_Q], _A], request: _Q) -> _A:
        """The answer to one try.

        Raises:
            httpx.HTTPError: there is none, or a refusal.
            ValueError: it cannot be read.
        """
        answer = call(request)
        self._is_back()
        return answer

    def _refusal(
        self, response: httpx.Response, *, patient: bool, told: Collection[int]
    ) -> HushRecError | None:
        """Why to try again; None if the caller shall know."""
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            skew = skew_of(response.headers.get("date"))
            if not skew:
                raise Expelled
            return self._mended(clock_skew(self.address, skew))
        if patient and status in told:
            return None
        if not patient and status == httpx.codes.FORBIDDEN:
            raise RunNotRunningException
        if not patient and status not in _BUSY:
            return None
        return unreachable(self.address, f"the answer is HTTP status {status}")

    def _failure(self, error: Exception) -> HushRecError:
        found = next((one for one in _causes(error) if isinstance(one, ssl.SSLError)), None)
        if isinstance(found, ssl.SSLCertVerificationError):
            roots = None if self.roots is None else _certificates(self.roots)
            return self._mended(distrusted(self.address, found, roots))
        return unreachable(self.address, f"no answer: {str(error) or type(error).__name__}")

    def _mended(self, error: HushRecError) -> HushRecError:
        """What somebody has to mend; waited for once the server has answered before."""
        if not self.met:
            raise error
        return error

    def _is_away(self, reason: HushRecError) -> None:
        with self._lock:
            if self._away_since is None:
                self._away_since = time.monotonic()
                _LOG.warning("%s", reason, extra=fields(state=Public("away")))

    def _is_back(self) -> None:
        with self._lock:
            self.met = True
            if self._away_since is not None:
                gone = time.monotonic() - self._away_since
                self._away_since = None
                _LOG.warning(
                    "%s: the server answers again, after %.0f seconds",
                    self.address,
                    gone,
                    extra=fields(state=Public("ready")),
                )


def _waits() -> Iterator[float]:
    """Longer and longer; shops that lost the server together do not all come back at once."""
    longest = 0.5
    while True:
        yield spread(longest)
        longest = min(2 * longest, _LONGEST_WAIT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _certificates(roots: bytes) -> list[Certificate]:
    with suppress(ValueError):
        return x509.load_pem_x509_certificates(roots)
    return []
