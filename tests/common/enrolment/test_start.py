"""Start files: what systemd and compose read of them is what was meant, whatever the folder."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from common.enrolment.start import Service, compose_fragment, start_names, systemd_unit, write_start
from common.errors import ConfigError
from tests.common.enrolment.units import unit_words, values

HOMES = ["/srv/north", "/srv/a shop", '/srv/50%"off"', "/srv/$HOME/${X}", "/srv/Köln\\n"]
SERVICE = Service("client", "Köln 1", lambda home: ("-I", "-m", "x", str(home)), 65)
SERVER = Service("server", "a", lambda home: (str(home),), 5, lambda home: {"A": str(home)}, 84)


@pytest.mark.parametrize("home", HOMES)
def test_a_unit_runs_the_command_with_the_folder_as_it_is(home: str) -> None:
    unit = systemd_unit(SERVICE, Path(home))
    (command,) = values(unit, "ExecStart")
    assert unit_words(command)[1:] == ["-I", "-m", "x", home]
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", command)
    (folder,) = values(unit, "ReadWritePaths")
    assert re.sub(r"\\(.)", r"\1", folder[1:-1]).replace("%%", "%") == home
    assert values(unit, "UMask") == ["0077"]
    assert values(unit, "NoNewPrivileges") == ["yes"]
    assert values(unit, "Restart") == ["always"]
    assert values(unit, "RestartSec") == ["65"]


@pytest.mark.parametrize("home", HOMES)
def test_a_fragment_mounts_the_folder_and_little_else(home: str) -> None:
    (service,) = yaml.safe_load(compose_fragment(SERVICE, Path(home)))["services"].values()
    assert service["entrypoint"] == ["python", "-I", "-m", "x", "/client"]
    (volume,) = service["volumes"]
    assert volume["source"].replace("$$", "$") == home
    assert volume["target"] == "/client"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "ports" not in service


def test_a_server_is_reached_and_knows_its_folder() -> None:
    (service,) = yaml.safe_load(compose_fragment(SERVER, Path("/srv/a")))["services"].values()
    assert service["ports"] == ["84:84"]
    assert service["environment"]["A"] == "/server"
    assert 'Environment="A=/srv/a"' in systemd_unit(SERVER, Path("/srv/a"))


def test_signs_that_no_unit_can_hold_are_refused() -> None:
    for make in (systemd_unit, compose_fragment):
        with pytest.raises(ConfigError):
            make(SERVICE, Path("/srv/a\nExecStartPre=/bin/false"))


def test_names_are_plain(tmp_path: Path) -> None:
    write_start(tmp_path, tmp_path, SERVICE)
    assert start_names(SERVICE)[0] == "start/hushrec-client-K_ln_1.service"
    for name in start_names(SERVICE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "start").stat().st_mode & 0o777 == 0o700


def verified(unit: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", ["plain", "a shop", "50%", "$HOME"])
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    write_start(home, home, SERVICE)
    path = home / start_names(SERVICE)[0]
    found = verified(path)
    assert found.returncode == 0, found.stderr
    assert "hushrec" not in found.stderr
    path.write_text(path.read_text().replace('ExecStart="', 'ExecStart="relative'))
    assert verified(path).returncode != 0
