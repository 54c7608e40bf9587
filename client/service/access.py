"""Who is answered: whoever shows the token. Health alone can be asked for without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import grpc

from client.service.servicer import refuse
from client.service.token import Token
from common.errors import Code, ProtocolError

if TYPE_CHECKING:  # generic in its stubs alone
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Access"]

_OPEN: Final = "/grpc.health.v1.Health/Check"
"""Not `Watch`: a call that never ends is one fewer for those who have the token."""
_HEADER: Final = "authorization"


class Access(grpc.ServerInterceptor):
    """Lets calls with the token through, before their request is looked at.

    Args:
        token: of the folder.
    """

    def __init__(self, token: Token) -> None:
        self._token = token

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The handler of a call, or the one that refuses it."""
        if handler_call_details.method == _OPEN:
            return continuation(handler_call_details)
        shown = [v for k, v in handler_call_details.invocation_metadata if k == _HEADER]
        if len(shown) == 1 and self._token.fits(shown[0]):
            return continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_deny)


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
