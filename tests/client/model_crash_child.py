"""Run by `test_models.py`: a client killed before every call to the disk while it takes a model.

Usage: model_crash_child.py FOLDER. Prints how many points there were in each story.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from client.models import ModelStore
from common.privacy.signing import SigningKey
from common.protocol import ModelMessage
from tests.dying import everywhere
from tests.sent_models import a_message

KEY = SigningKey.create()
MESSAGES = [a_message(KEY, serial, seed=serial) for serial in range(1, 6)]


def story(folder: Path, before: list[ModelMessage], message: ModelMessage, *, spoilt: bool) -> int:
    """How often the client was killed; it had taken `before`, and was taking `message`."""
    template, points = folder / "template", 0
    template.mkdir(parents=True)
    for one in before:
        ModelStore(template).take(one)
    if spoilt:
        next((template / "models").glob("*/arrays.safetensors")).write_bytes(b"x")
    for at in everywhere(
        lambda at: ModelStore(folder / str(at)).take(message),
        lambda at: shutil.copytree(template, folder / str(at)),
    ):
        store, points = ModelStore(folder / str(at)), points + 1
        if not spoilt:
            held = store.current()
            before_or_after = {before[-1].serial if before else None, message.serial}
            assert (None if held is None else held.serial) in before_or_after, at
        store.take(message)
        check(store, message, kept=min(3, len({one.version for one in (*before, message)})))
    return points


def check(store: ModelStore, message: ModelMessage, kept: int) -> None:
    """It serves the message, and nothing is left over."""
    held = store.current()
    assert held is not None
    assert (held.serial, held.version) == (message.serial, message.version)
    for name, array in message.arrays.items():
        assert held.model.arrays()[name].tobytes() == array.tobytes()
    assert len(list((store.folder / "models").iterdir())) == kept + 1


if __name__ == "__main__":
    place = Path(sys.argv[1])
    first, *_, last = MESSAGES
    print(  # noqa: T201
        story(place / "first", [], first, spoilt=False),
        story(place / "fifth", MESSAGES[:-1], last, spoilt=False),
        story(place / "again", MESSAGES[:2], replace(first, serial=7).signed(KEY), spoilt=False),
        story(place / "repair", [first], first, spoilt=True),
    )
