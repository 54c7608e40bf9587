"""The app bundle that a run comes with, made of the installed packages, the same bytes each time.

Everybody who has the same version of HushRec makes the same bundle, so that its hash says that
two parties speak of one program. Nothing is compressed: other editions of zlib would give other
bytes. Flower's own `flwr build` takes the same sources and gives another file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from common.errors import Code, ConfigError

__all__ = ["APP_SETTINGS", "build_bundle", "bundle_sha256"]

APP_SETTINGS: Final = ("run", "server-home", "deliver")
"""Keys of the run configuration: Flower takes no others than the bundle names."""
_PACKAGES: Final = ("client", "common", "server")
_WRITTEN: Final = (1980, 1, 1, 0, 0, 0)
_CONFIG: Final = """\
[project]
name = "hushrec"
version = {version}
license = "Apache-2.0"

[tool.flwr.app]
publisher = "hushrec"

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"

[tool.flwr.app.config]
{settings}"""


def build_bundle() -> bytes:
    """The bundle of the installed version.

    Raises:
        ConfigError: `config-not-found`, one of the packages is not installed here.
    """
    settings = "".join(f'{name} = ""\n' for name in APP_SETTINGS)
    config = _CONFIG.format(version=json.dumps(_version()), settings=settings)
    files = {"pyproject.toml": config.encode()}
    for package in _PACKAGES:
        files |= dict(_sources(package))
    content = "\n".join(_line(name, data) for name, data in files.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name, data in {**files, ".info/CONTENT": content.encode()}.items():
            bundle.writestr(_member(name), data)
    return buffer.getvalue()


def bundle_sha256(content: bytes) -> str:
    """What policies list a bundle by."""
    return hashlib.sha256(content).hexdigest()


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    """Python files of a package in order of name, by their place in the bundle."""
    folder = _folder(package)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    for name in sorted(found):
        yield f"{package}/{name}", found[name].read_bytes()


def _folder(package: str) -> Path:
    """Where a package is installed; it is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            Code.CONFIG_NOT_FOUND,
            f"the bundle is made of {', '.join(_PACKAGES)}, and {package} is not installed.",
            where="bundle",
            remedy="Build it where all of HushRec is installed in the same version.",
        )
    return Path(spec.submodule_search_locations[0])


def _version() -> str:
    try:
        return version("hushrec")
    except PackageNotFoundError:
        return "0"


def _member(name: str) -> zipfile.ZipInfo:
    """An entry that says nothing of the machine that wrote it."""
    info = zipfile.ZipInfo(name, _WRITTEN)
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


def _line(name: str, data: bytes) -> str:
    """As Flower checks what it unpacks: path, hash, size in bits."""
    return f"{name},{hashlib.sha256(data).hexdigest()},{8 * len(data)}"
