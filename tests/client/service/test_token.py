"""The token: made once, private, and compared as a whole."""

import stat

import pytest

from client.service.token import TOKEN, Token
from common.errors import Code, ConfigError


def test_it_is_made_once_and_private(tmp_path):
    made = Token.made(tmp_path)
    assert stat.S_IMODE((tmp_path / TOKEN).stat().st_mode) == 0o600
    assert Token.made(tmp_path) == Token.of(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == [TOKEN]
    assert made.header not in repr(made)


def test_what_fits_is_the_header_alone(tmp_path):
    token = Token.made(tmp_path)
    assert token.fits(token.header)
    assert token.fits(token.header.encode())
    for shown in (None, "", "Bearer ", token.header[:-1], token.header + "x", token.header.lower()):
        assert not token.fits(shown)
    assert not token.fits("Bearer é")


def test_none_is_said(tmp_path):
    with pytest.raises(ConfigError) as error:
        Token.of(tmp_path)
    assert error.value.code == Code.CONFIG_NOT_FOUND


@pytest.mark.parametrize("content", ["", "short", "é" * 40])
def test_what_is_no_token_is_refused_and_kept(tmp_path, content):
    (tmp_path / TOKEN).write_text(content)
    (tmp_path / TOKEN).chmod(0o600)
    with pytest.raises(ConfigError) as error:
        Token.made(tmp_path)
    assert error.value.code == Code.CONFIG_INVALID
    assert (tmp_path / TOKEN).read_text() == content


def test_one_that_others_may_read_is_refused(tmp_path):
    Token.made(tmp_path)
    (tmp_path / TOKEN).chmod(0o640)
    with pytest.raises(ConfigError) as error:
        Token.of(tmp_path)
    assert "chmod 600" in error.value.remedy
