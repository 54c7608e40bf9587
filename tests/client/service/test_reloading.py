"""A value of files that change: newest that loads, one loader, failures said once."""

import threading

import pytest

from client.service import reloading
from client.service.reloading import Reloading
from common.errors import Code, DataError
from tests.client.launcher.deployment import until


class Files:
    """A stamp, and what loading does."""

    def __init__(self) -> None:
        self.stamp = 1
        self.loads = 0
        self.broken = False
        self.error: Exception = DataError(Code.DATA_FORMAT, "broken.")
        self.gate = threading.Event()
        self.gate.set()

    def load(self) -> int:
        self.loads += 1
        self.gate.wait(60)
        if self.broken:
            raise self.error
        return self.stamp

    def followed(self) -> Reloading[int]:
        return Reloading(lambda: self.stamp, self.load)


def test_it_loads_once_for_each_change():
    files = Files()
    value = files.followed()
    assert [value.get(), value.get()] == [1, 1]
    files.stamp = 2
    assert [value.get(), value.get()] == [2, 2]
    assert files.loads == 2


def test_what_does_not_load_leaves_the_value_before_it(monkeypatch):
    files = Files()
    value = files.followed()
    value.get()
    files.stamp, files.broken = 2, True
    assert [value.get() for _ in range(5)] == [1] * 5
    assert (files.loads, value.held_back) == (2, "data-format")
    files.broken = False
    assert value.get() == 1  # not before it is time to look again
    monkeypatch.setattr(reloading, "_RETRY_SECONDS", 0.0)
    assert (value.get(), value.held_back) == (2, "")


def test_whatever_it_does_not_load_for_the_value_before_it_stays(caplog):
    files = Files()
    value = files.followed()
    value.get()
    files.stamp, files.broken, files.error = 2, True, MemoryError()
    assert [value.get() for _ in range(5)] == [1] * 5
    assert (files.loads, value.held_back) == (2, "internal")
    (line,) = caplog.records
    assert line.exc_info is not None
    assert line.exc_info[0] is MemoryError


def test_whatever_the_first_does_not_load_for_is_everybodys_and_not_tried_by_each():
    files = Files()
    files.broken, files.error = True, MemoryError()
    value = files.followed()
    for _ in range(3):
        with pytest.raises(MemoryError):
            value.get()
    assert (files.loads, value.held_back) == (1, "internal")


def test_a_change_back_to_what_is_loaded_ends_the_failure():
    files = Files()
    value = files.followed()
    value.get()
    files.stamp, files.broken = 2, True
    value.get()
    files.stamp = 1
    assert value.get() == 1
    files.stamp, files.broken = 3, False
    assert (value.get(), value.held_back) == (3, "")


def test_without_any_value_the_error_is_everybodys():
    files = Files()
    files.broken = True
    value = files.followed()
    for _ in range(3):
        with pytest.raises(DataError):
            value.get()
    assert files.loads == 1
    files.stamp, files.broken = 2, False
    assert value.get() == 2


def test_while_one_loads_the_others_have_the_old_value():
    files = Files()
    value = files.followed()
    value.get()
    files.stamp = 2
    files.gate.clear()
    loader = threading.Thread(target=value.get)
    loader.start()
    try:
        until(lambda: files.loads == 2, "nobody loads")
        assert value.get() == 1
    finally:
        files.gate.set()
        loader.join()
    assert value.get() == 2
    assert files.loads == 2
