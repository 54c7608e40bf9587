"""An address is an IP address with a port."""

from __future__ import annotations

import pytest

from common.address import Address
from common.errors import Code, ConfigError


@pytest.mark.parametrize(
    ("text", "host", "loopback"),
    [
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("0.0.0.0:8000", "0.0.0.0", False),
        ("[::]:8000", "::", False),
        ("192.0.2.1:8000", "192.0.2.1", False),
    ],
)
def test_an_address_is_read_and_written(text: str, host: str, loopback: bool) -> None:
    address = Address.read(text)
    assert (address.host, address.port, address.is_loopback) == (host, 8000, loopback)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "localhost:8000", "127.0.0.1", "127.0.0.1:", "::1", "1.2:3", "127.0.0.1:65536"]
)
def test_a_name_or_a_lone_address_is_none(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.read(text)
    assert caught.value.code is Code.CONFIG_INVALID
