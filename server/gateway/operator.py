"""Who may tell the server what to do: whoever has the operator's token, and nobody else.

Without this, Flower's Control API believes everybody that reaches its port.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from flwr.cli.constant import (
    ACCESS_TOKEN_STORE_KEY,
    AUTHN_TYPE_STORE_KEY,
    REFRESH_TOKEN_STORE_KEY,
)
from flwr.cli.flower_config import write_superlink_connection
from flwr.cli.typing import SuperLinkConnection
from flwr.common.constant import (
    ACCESS_TOKEN_KEY,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    AuthnType,
)
from flwr.supercore.auth.typing import (
    AccountAuthCredentials,
    AccountAuthLoginDetails,
    AccountInfo,
)
from flwr.supercore.credential_store import get_credential_store
from flwr.superlink.auth_plugin import ControlAuthnPlugin

from common.address import Address
from server.gateway.folder import ServerFolder

__all__ = ["OperatorToken", "remember"]


class OperatorToken(ControlAuthnPlugin):
    """Flower's way of asking for an account, with one account and a token that never changes.

    Guarantee:
        A Control call is answered only if it bears the token, compared in constant time.
        Nobody is given the token, nor another for it.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def get_login_details(self) -> AccountAuthLoginDetails | None:
        """There is no way to log in but to have the file."""
        return None

    def validate_tokens_in_metadata(
        self, metadata: Sequence[tuple[str, str | bytes]]
    ) -> tuple[bool, AccountInfo | None]:
        """Whether the call bears the token; the account is the one that Flower has by itself."""
        borne = [value for name, value in metadata if name == ACCESS_TOKEN_KEY]
        if len(borne) != 1 or not hmac.compare_digest(_bytes(borne[0]), self._token):
            return False, None
        return True, AccountInfo(flwr_aid=NOOP_FLWR_AID, account_name=NOOP_ACCOUNT_NAME)

    def get_auth_tokens(self, device_code: str) -> AccountAuthCredentials | None:  # noqa: ARG002  Flower's
        """Nothing: see `get_login_details`."""
        return None

    def refresh_tokens(
        self,
        metadata: Sequence[tuple[str, str | bytes]],  # noqa: ARG002  Flower's
    ) -> tuple[Sequence[tuple[str, str | bytes]] | None, AccountInfo | None]:
        """Nothing: the token does not change."""
        return [], None


def remember(folder: ServerFolder, inside: Address, name: str) -> None:
    """Have `flwr` of this user know the server as `name`, with the operator's token.

    Args:
        folder: the server's.
        inside: where Control is.
        name: of the connection, for `flwr run . NAME`.
    """
    address, roots = str(inside), str(folder.inside.certificate)
    write_superlink_connection(SuperLinkConnection(name, address, roots))
    store, token = get_credential_store(), folder.operator_token().encode()
    store.set(AUTHN_TYPE_STORE_KEY % address, AuthnType.OIDC.encode())
    store.set(ACCESS_TOKEN_STORE_KEY % address, token)
    store.set(REFRESH_TOKEN_STORE_KEY % address, token)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
