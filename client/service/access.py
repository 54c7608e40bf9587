"""Who is answered: whoever shows the token. Health alone can be asked for without.

A call is refused before its request is there: who has no token would never have to send one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import grpc

from client.service.reception import Reception
from client.service.servicer import refuse
from client.service.token import Token
from common.errors import Code, ProtocolError

if TYPE_CHECKING:  # generic in its stubs alone
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Access"]

_OPEN: Final = "/grpc.health.v1.Health/Check"
_ENDLESS: Final = "/grpc.health.v1.Health/Watch"
"""Not offered: nothing would bound how many of them are open, and how long."""
_HEADER: Final = "authorization"


class Access(grpc.ServerInterceptor):
    """Lets calls with the token through, before their request is looked at.

    Args:
        token: of the folder.
        reception: where calls wait for their request.
    """

    def __init__(self, token: Token, reception: Reception) -> None:
        self._token, self._reception = token, reception

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler of a call, or the one that refuses it; None for an unknown method."""
        method = handler_call_details.method
        if method != _OPEN and not self._fits(handler_call_details):
            return grpc.stream_stream_rpc_method_handler(_deny)  # reads nothing
        handler = None if method == _ENDLESS else continuation(handler_call_details)
        if handler is None:
            return None
        wait = self._reception.check if method == _OPEN else self._reception.caller
        return wait(handler)

    def _fits(self, details: grpc.HandlerCallDetails) -> bool:
        shown = [value for key, value in details.invocation_metadata if key == _HEADER]
        return len(shown) == 1 and self._token.fits(shown[0])


def _deny(_: object, context: grpc.ServicerContext) -> NoReturn:
    refuse(
        context,
        ProtocolError(
            Code.SERVICE_TOKEN,
            "the call does not show the service's token.",
            where="metadata `authorization`",
            remedy="Send `Bearer` and the content of service.token in the client's folder.",
        ),
    )
