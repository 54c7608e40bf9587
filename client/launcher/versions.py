"""The one Flower that the launcher was written for, looked at before anything of it is used.

The launcher lives on parts of Flower that are internal to it. With another version, or
without one of these names, it does not start.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from common.errors import Code, RunError

__all__ = ["FLOWER", "USED", "check_flower"]

FLOWER: Final = "1.41.0"
"""The version that was read and tested; `pyproject.toml` pins the same."""
_CONNECTION: Final = (
    "server_address",
    "insecure",
    "root_certificates",
    "authentication_keys",
    "max_retries",
    "max_wait_time",
)
_INFLATE: Final = ("object_id", "object_contents", "keep_object_contents", "objects")
USED: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("flwr.app", "Context", ("run_id", "node_id", "node_config", "state", "run_config")),
    ("flwr.common.serde", "message_from_proto", ("message_proto",)),
    ("flwr.common.serde", "message_to_proto", ("message",)),
    ("flwr.app.message", "remove_content_from_message", ("message",)),
    ("flwr.proto.message_pb2", "Message", ()),
    ("flwr.proto.message_pb2", "ObjectTree", ()),
    ("flwr.supercore.fab", "Fab", ("hash_str", "content")),
    ("flwr.supercore.inflatable.inflatable_object", "get_all_nested_objects", ("obj",)),
    ("flwr.supercore.inflatable.inflatable_object", "get_object_tree", ("obj",)),
    ("flwr.supercore.inflatable.inflatable_object", "iterate_object_tree", ("tree",)),
    ("flwr.supercore.inflatable.inflatable_object", "no_object_id_recompute", ()),
    ("flwr.supercore.inflatable.inflatable_utils", "inflate_object_from_contents", _INFLATE),
    ("flwr.supercore.inflatable.inflatable_utils", "pull_objects", ("object_ids",)),
    ("flwr.supercore.run", "Run", ("run_id", "fab_id", "fab_version", "fab_hash")),
    ("flwr.supercore.run", "RunNotRunningException", ()),
    ("flwr.supercore.task_identity", "TaskIdentity", ()),
    ("flwr.supernode.fleet_http_connection", "http_request_response", _CONNECTION),
)
"""Module, name and first parameters of everything internal that the launcher uses."""


def check_flower() -> None:
    """Hold the installed Flower to what was tested.

    Raises:
        RunError: `flower-version`, it is another version or lacks a name.
    """
    try:
        found = version("flwr")
    except PackageNotFoundError:
        found = "none"
    if found != FLOWER:
        raise _unfit(f"Flower {found} is installed, the launcher was written for {FLOWER}.")
    for module, name, parameters in USED:
        _check_name(module, name, parameters)


def _check_name(module: str, name: str, parameters: tuple[str, ...]) -> None:
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _unfit(f"Flower has no {module}.{name}: {error}.") from None
    has = tuple(inspect.signature(found).parameters) if parameters else ()
    if has[: len(parameters)] != parameters:
        raise _unfit(f"{module}.{name} takes {has}, not {parameters}.")


def _unfit(what: str) -> RunError:
    return RunError(
        Code.FLOWER_VERSION,
        what,
        where="launcher",
        remedy="Install HushRec anew with its constraints.txt; never upgrade Flower alone.",
    )
