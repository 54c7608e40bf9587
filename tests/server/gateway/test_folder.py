"""The server's folder holds secrets that are made once and that nobody else reads."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from cryptography import x509

from common.errors import Code, ConfigError, RunError
from server.gateway.folder import ServerFolder


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    return ServerFolder.opened(tmp_path / "server")


def test_secrets_are_long_different_and_stay(folder: ServerFolder) -> None:
    token, secret = folder.operator_token(), folder.superexec_secret.read_text()
    assert token != secret
    assert len(token) == len(secret) == 64
    again = ServerFolder.opened(folder.path)
    assert (again.operator_token(), again.superexec_secret.read_text()) == (token, secret)


def test_two_servers_have_different_secrets(folder: ServerFolder, tmp_path: Path) -> None:
    other = ServerFolder.opened(tmp_path / "other")
    assert folder.operator_token() != other.operator_token()


def test_nobody_else_reads_the_secrets(folder: ServerFolder) -> None:
    folder.operator_token()
    secret, pair = folder.superexec_secret, folder.inside_certificate("127.0.0.1")
    for path in (folder.path, secret, folder.path / "operator.token", pair.key):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o711])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "server").mkdir(mode)
    (tmp_path / "server").chmod(mode)
    with pytest.raises(ConfigError, match="others may look") as caught:
        ServerFolder.opened(tmp_path / "server")
    assert caught.value.code is Code.CONFIG_INVALID
    assert list((tmp_path / "server").iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("")
    with pytest.raises(ConfigError, match="no folder"):
        ServerFolder.opened(tmp_path / "server")


def test_one_server_at_a_time(folder: ServerFolder) -> None:
    with folder.locked(), pytest.raises(RunError) as caught, folder.locked():
        pass
    assert caught.value.code is Code.RUN_IN_USE
    with folder.locked():
        pass


def test_the_certificate_inside_stays_and_is_for_one_address(folder: ServerFolder) -> None:
    pair = folder.inside_certificate("127.0.0.1")
    before = pair.certificate.read_bytes()
    assert folder.inside_certificate("127.0.0.1").certificate.read_bytes() == before
    folder.inside_certificate("::1")
    assert pair.certificate.read_bytes() != before
    found = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("::1")]


def test_a_server_that_has_not_run_lets_nobody_in(folder: ServerFolder, tmp_path: Path) -> None:
    """Looking for it makes nothing: another token than the server's would be no use."""
    for path in (folder.path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError) as caught:
            ServerFolder.of_server(path)
        assert caught.value.code is Code.CONFIG_NOT_FOUND
    assert list(tmp_path.rglob("*")) == [folder.path]
    token, pair = folder.operator_token(), folder.inside_certificate("127.0.0.1")
    found = ServerFolder.of_server(folder.path)
    assert (found.operator_token(), found.inside) == (token, pair)
