"""`python -I -m client.running.leash PARENT COMMAND...`: a command that ends with its parent."""

from __future__ import annotations

import os
import sys

from common.processes import end_with_parent

__all__ = ["leashed", "main"]


def leashed(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, tied to this process. It is started from a thread that lasts."""
    return (sys.executable, "-I", "-m", "client.running.leash", str(os.getpid()), *command)


def main() -> None:
    """Tie this process to its parent, and become the command."""
    parent, *command = sys.argv[1:]
    end_with_parent(int(parent))
    os.execv(command[0], command)  # noqa: S606  no shell


if __name__ == "__main__":
    main()
