"""`python -I -m common.probe URL`: status 0 if a part says that it is well, else 1.

For health checks of containers, whose image has no curl: nothing but the standard library.
"""

from __future__ import annotations

import argparse
import ssl
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

__all__ = ["is_well", "main", "parser"]

_SECONDS: Final = 3.0
_BELOW: Final = 300


def is_well(url: str, roots: Path | None = None) -> bool:
    """Whether GET of `url` is answered with a status below 300. Redirects are not followed.

    Args:
        url: of `http` or `https`; the latter is checked by its name.
        roots: PEM file with the authority to check `https` by; None takes the system's.
    """
    try:
        where = urlsplit(url)
        connection = _connection(where.scheme, where.hostname or "", where.port, roots)
        try:
            connection.request("GET", where.path or "/")
            return connection.getresponse().status < _BELOW
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException):
        return False


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -I -m common.probe", description=__doc__)
    made.add_argument("url", help="such as http://127.0.0.1:9464/health")
    made.add_argument("--roots", type=Path, help="PEM file to check https by")
    return made


def main(words: Sequence[str]) -> int:
    """The exit status."""
    asked = parser().parse_args(words)
    return 0 if is_well(asked.url, asked.roots) else 1


def _connection(scheme: str, host: str, port: int | None, roots: Path | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=_SECONDS)
    if scheme != "https":
        raise ValueError(scheme)
    context = ssl.create_default_context(cafile=None if roots is None else str(roots))
    return HTTPSConnection(host, port, timeout=_SECONDS, context=context)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
