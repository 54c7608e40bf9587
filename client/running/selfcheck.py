"""`python -I -m client.running.selfcheck CLIENT_DIR`: what the doctor finds, as lines of a log.

A process of its own, beside the parts, so that it keeps nobody waiting.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from common.log_records import known_file
from common.logs import Public, configure_process, fields

if TYPE_CHECKING:
    from client.doctor.findings import Finding

__all__ = ["main"]

_LOG = logging.getLogger("hushrec.running")


def main(folder: Path) -> None:
    """One line for each finding that is not well, and none of what it says in words.

    The doctor's own words are for the owner's terminal: they count, and name.

    Guarantee:
        Only checks run that read no data, for a log may leave the machine: clients whose
        data differ write the same.
    """
    configure_process("check")
    os.nice(10)  # the parts come first
    from client.doctor.command import examine_without_data

    for finding in examine_without_data(folder, datetime.now(UTC)):
        if finding.level != "ok":
            _LOG.warning("`hushrec doctor` has something to say", extra=_fields(finding))


def _fields(finding: Finding) -> dict[str, object]:
    said = {"check": Public(finding.check), "finding": Public(finding.level)}
    if finding.code is not None:
        said["code"] = Public(finding.code)
    if (file := known_file(finding.where)) is not None:
        said["where"] = Public(file)
    return fields(**said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
