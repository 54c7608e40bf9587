"""Start files: a unit for systemd and a fragment for compose, with as few rights as it takes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from common.enrolment.folders import write_private
from common.errors import Code, ConfigError

__all__ = ["START", "Service", "compose_fragment", "start_names", "systemd_unit", "write_start"]

START: Final = "start"
"""Folder of the start files, in the folder of who is started."""
_UNIT: Final = """\
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command}
{environment}User={user}
Restart=always
RestartSec={seconds}
KillMode=mixed
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
ReadWritePaths={folder}

[Install]
WantedBy=multi-user.target
"""
_COMPOSE: Final = """\
services:
  {name}:
    image: "${{HUSHREC_IMAGE:?the image with HushRec}}"
    entrypoint: {command}
    init: true
    environment: {environment}
    volumes:
      - type: bind
        source: {source}
        target: {target}
{ports}    user: "{user}"
    read_only: true
    tmpfs: ["/tmp"]
    cap_drop: ["ALL"]
    security_opt: ["no-new-privileges:true"]
    restart: unless-stopped
    stop_grace_period: 60s
"""


@dataclass(frozen=True)
class Service:
    """What is started.

    Attributes:
        role: `client` or `server`; also the folder's name in a container.
        name: whose it is.
        command: the arguments behind `python`, for the folder's place.
        restart_seconds: how long a supervisor waits before it starts it again.
        environment: variables, for the folder's place.
        port: what is reached from outside, if anything is.
    """

    role: str
    name: str
    command: Callable[[Path], Sequence[str]]
    restart_seconds: int
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _: {})
    port: int | None = None

    @property
    def unit(self) -> str:
        """What systemd and compose call it; other letters than theirs become `_`."""
        return f"hushrec-{self.role}-{re.sub(r'[^A-Za-z0-9_-]', '_', self.name)}"


def start_names(service: Service) -> tuple[str, str]:
    """Files of unit and fragment, from the folder of who is started."""
    return f"{START}/{service.unit}.service", f"{START}/{service.unit}.compose.yaml"


def write_start(part: Path, home: Path, service: Service) -> None:
    """Write both files.

    Args:
        part: where the folder is now.
        home: where it will be, absolute.
        service: what is started.

    Raises:
        ConfigError: `config-invalid`, the folder's name has signs that no unit can hold.
        DataError: they cannot be written.
    """
    (part / START).mkdir(mode=0o700, exist_ok=True)
    unit, fragment = (part / name for name in start_names(service))
    write_private(unit, systemd_unit(service, home).encode())
    write_private(fragment, compose_fragment(service, home).encode())


def systemd_unit(service: Service, home: Path) -> str:
    """A unit that runs as the user who enrolled, and can write to `home` alone.

    Raises:
        ConfigError: `config-invalid`, a path has a sign that no unit can hold.
    """
    words = [_quoted(word).replace("$", "$$") for word in (sys.executable, *service.command(home))]
    known = {"FLWR_HOME": str(home / ".flwr"), **service.environment(home)}
    pairs = [f"Environment={_quoted(f'{key}={value}')}\n" for key, value in known.items()]
    return _UNIT.format(
        description=_plain(f"HushRec {service.role} {service.name}").replace("%", "%%"),
        command=" ".join(words),
        environment="".join(pairs),
        user=os.getuid(),
        seconds=service.restart_seconds,
        folder=_quoted(str(home)),
    )


def compose_fragment(service: Service, home: Path) -> str:
    """A service in an image of the owner's, with `home` mounted as `/client` or `/server`.

    Raises:
        ConfigError: `config-invalid`, a path has a sign that no such file can hold.
    """
    inside = Path("/") / service.role
    known = {"FLWR_HOME": str(inside / ".flwr"), **service.environment(inside)}
    published = "" if service.port is None else f'    ports: ["{service.port}:{service.port}"]\n'
    return _COMPOSE.format(
        name=service.unit,
        command=_yaml(["python", *service.command(inside)]),
        environment=_yaml(known),
        source=_yaml(_plain(str(home))),
        target=_yaml(str(inside)),
        ports=published,
        user=f"{os.getuid()}:{os.getgid()}",
    )


def _yaml(value: object) -> str:
    """JSON is YAML; compose would take a single `$` for a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def _quoted(word: str) -> str:
    """As systemd reads it: always in quotes, specifiers as they are."""
    plain = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"'


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ConfigError(
            Code.CONFIG_INVALID,
            f"{text!r} cannot stand in a start file.",
            where="folder",
            remedy="Choose a folder with a plainer name.",
        )
    return text
