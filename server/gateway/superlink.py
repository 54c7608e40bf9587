"""Flower's SuperLink as an app, with everything turned on that asks who calls."""

from __future__ import annotations

import os
from importlib.util import find_spec

from fastapi import FastAPI
from flwr.common.constant import (
    FLWR_INTERNAL_GRPC_CONTROL_API,
    FLWR_INTERNAL_GRPC_FLEET_API,
    ISOLATION_MODE_PROCESS,
    TRANSPORT_TYPE_GRPC_RERE,
)
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.main import create_app

from common.errors import Code, RunError
from server.gateway.folder import ServerFolder
from server.gateway.operator import OperatorToken

__all__ = ["make_app"]


def make_app(folder: ServerFolder, host: str, port: int) -> FastAPI:
    """The SuperLink: nodes by key, Control by token, tasks by secret; state on disk.

    Args:
        folder: its secrets and its database.
        host: loopback address of the inside.
        port: of the inside.

    Raises:
        RunError: `flower-version`, an edition of Flower that was not tested.
    """
    if find_spec("flwr.ee") is not None:
        raise RunError(
            Code.FLOWER_VERSION,
            "Flower is installed with extensions that were not tested.",
            where="gateway",
            remedy="Install HushRec in an environment of its own.",
        )
    for name in (FLWR_INTERNAL_GRPC_CONTROL_API, FLWR_INTERNAL_GRPC_FLEET_API):
        os.environ.pop(name, None)  # each would open a port of its own, beside the gateway
    return create_app(_config(folder, host, port), SuperLinkLifespan)


def _config(folder: ServerFolder, host: str, port: int) -> SuperLinkLifespanConfig:
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host=host,
        port=port,
        insecure=False,
        certificates=None,  # the servers in front have them
        superexec_auth_secret=folder.superexec_secret.read_bytes(),
        authn_plugin=OperatorToken(folder.operator_token()),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=str(folder.database),
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )
