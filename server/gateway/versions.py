"""What the gateway uses of Flower that is internal to it, held to the version that was tested."""

from __future__ import annotations

from typing import Final

from common import flower
from common.flower import Used

__all__ = ["USED", "check_flower"]

_CONFIG: Final = (
    "control_address",
    "health_server_address",
    "host",
    "port",
    "insecure",
    "certificates",
    "superexec_auth_secret",
    "authn_plugin",
    "event_log_plugin",
    "fleet_event_log_plugin",
    "enable_event_log",
    "artifact_provider",
    "enable_supernode_auth",
    "fleet_api_type",
    "fleet_api_address",
    "simulation",
    "ssl_ca_certfile",
    "ssl_certfile",
    "ssl_keyfile",
    "database",
    "isolation",
    "runtime_dependency_install",
)
_CLIENT: Final = ("base_url",)
_STATE: Final = ("config", "state_factory")
USED: Final[tuple[Used, ...]] = (
    ("flwr.cli.constant", "ACCESS_TOKEN_STORE_KEY", ()),
    ("flwr.cli.constant", "AUTHN_TYPE_STORE_KEY", ()),
    ("flwr.cli.constant", "REFRESH_TOKEN_STORE_KEY", ()),
    ("flwr.cli.flower_config", "write_superlink_connection", ("connection",)),
    ("flwr.cli.typing", "SuperLinkConnection", ("name", "address", "root_certificates")),
    ("flwr.common.constant", "ACCESS_TOKEN_KEY", ()),
    ("flwr.common.constant", "FLWR_INTERNAL_GRPC_CONTROL_API", ()),
    ("flwr.common.constant", "FLWR_INTERNAL_GRPC_FLEET_API", ()),
    ("flwr.common.constant", "ISOLATION_MODE_PROCESS", ()),
    ("flwr.common.constant", "NOOP_ACCOUNT_NAME", ()),
    ("flwr.common.constant", "NOOP_FLWR_AID", ()),
    ("flwr.common.constant", "TRANSPORT_TYPE_GRPC_RERE", ()),
    ("flwr.common.constant", "AuthnType", ()),
    ("flwr.common.serde", "user_config_to_proto", ("user_config",)),
    ("flwr.proto.control_pb2", "ListRunsRequest", ()),
    ("flwr.proto.control_pb2", "StartRunRequest", ()),
    ("flwr.proto.control_pb2", "StopRunRequest", ()),
    ("flwr.proto.fab_pb2", "Fab", ()),
    ("flwr.supercore.auth.typing", "AccountAuthCredentials", ("access_token", "refresh_token")),
    ("flwr.supercore.auth.typing", "AccountAuthLoginDetails", ("authn_type",)),
    ("flwr.supercore.auth.typing", "AccountInfo", ("flwr_aid", "account_name")),
    ("flwr.supercore.control.control_http_client", "ControlHttpClient", _CLIENT),
    ("flwr.supercore.credential_store", "get_credential_store", ()),
    ("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor", ()),
    ("flwr.supercore.protobuf.client", "ProtobufCall", ()),
    ("flwr.supercore.protobuf.client", "ProtobufRequestContext", ()),
    ("flwr.supercore.protobuf.translation", "PROTOBUF_REQUEST_TYPES", ()),
    ("flwr.superlink.auth_plugin", "ControlAuthnPlugin", ()),
    ("flwr.superlink.cli.flower_superlink", "SuperLinkLifespan", _STATE),
    ("flwr.superlink.config_loader", "SuperLinkLifespanConfig", _CONFIG),
    ("flwr.superlink.main", "create_app", ("config", "superlink_lifespan_class")),
    ("flwr.superlink.routers.fleet.router", "router", ()),
)
"""Module, name and first parameters of everything internal that the gateway uses."""


def check_flower() -> None:
    """Hold the installed Flower to what was tested.

    Raises:
        RunError: `flower-version`, it is another version or lacks a name.
    """
    flower.check_flower("gateway", USED)
