"""The Dockerfile and docker-compose.yml are held to the programs, packages and pins they name.

No engine is needed: what they say is read, and every command is parsed by its own program.
tests/simulations/deployment/test_composed.py runs what they say, as processes.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml

from server.enroll.home import LATER, PRIVATE
from tests.programs import parsed

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SHOPS = ("north", "south", "east")
HOLDER = "inside"
"""Has the network of server, superexec and train, and runs nothing of ours."""
PROGRAMS = sorted(SERVICES.keys() - {HOLDER})
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, comments and continued lines taken away."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in found]


DOCKERFILE = _instructions()
FIRST, *_, LAST = [place for place, (word, _) in enumerate(DOCKERFILE) if word == "FROM"]
FINAL = DOCKERFILE[LAST:]


def final(word: str) -> list[str]:
    return [rest for found, rest in FINAL if found == word]


def entrypoint(service: dict[str, Any]) -> list[str]:
    """What a service starts: the image's own entry point if it names no other."""
    own = json.loads(final("ENTRYPOINT")[0])
    return [*service.get("entrypoint", own), *service["command"]]


def health(service: dict[str, Any]) -> list[str] | None:
    """The health check's command, the image's if the service has none, None if it is off."""
    check = service.get("healthcheck")
    if check is None:
        return list(json.loads(final("HEALTHCHECK")[0].partition("CMD")[2]))
    if check.get("disable"):
        return None
    kind, *words = check["test"]
    assert kind == "CMD"
    return list(words)


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Volume by the place where it is mounted."""
    found = (text.split(":") for text in service.get("volumes", ()))
    return {place: volume for volume, place, *_ in found}


def paths(values: dict[str, Any]) -> list[str]:
    return [str(v) for v in values.values() if isinstance(v, str | Path) and str(v)[0:1] == "/"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_is_one_that_its_program_takes(name: str) -> None:
    values = parsed(entrypoint(SERVICES[name]))
    assert paths(values)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_path_is_on_a_volume_that_is_the_parties_own(name: str) -> None:
    service = SERVICES[name]
    check = health(service)
    commands = [entrypoint(service), *([] if check is None else [check])]
    variables = [value for value in service.get("environment", {}).values() if "/" in value]
    named = [path for words in commands for path in paths(parsed(words))] + variables
    places = [*mounts(service), "/tmp"]
    for path in map(PurePosixPath, named):
        below = [place for place in places if path.is_relative_to(place)]
        above = [place for place in places if PurePosixPath(place).is_relative_to(path)]
        assert below or above, path
    assert set(mounts(service).values()) <= set(COMPOSE["volumes"])


def test_a_flag_that_does_not_exist_would_be_found() -> None:
    words = entrypoint(SERVICES["server"])
    with pytest.raises(click.UsageError):
        parsed([*words, "--isolation=none"])
    with pytest.raises(click.UsageError):
        parsed(["hushrec", "server", "serve"])
    with pytest.raises(LookupError):
        parsed(["bash", "-c", "true"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_health_check_asks_what_the_service_listens_on(name: str) -> None:
    words = health(SERVICES[name])
    if words is None:
        return
    url = urlsplit(parsed(words)["url"])
    values = parsed(entrypoint(SERVICES[name]))
    place = values["monitor"] if name in SHOPS else values["listen"]
    host, _, port = place.rpartition(":")
    assert (url.path, url.port) == ("/health", int(port))
    assert host in ("0.0.0.0", url.hostname)
    assert (url.scheme == "https") == (name == "server")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_has_as_few_rights_as_it_takes(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "secrets"} & set(service)
    assert service.get("network_mode") in (None, "none", f"service:{HOLDER}")
    assert all(volume in COMPOSE["volumes"] for volume in mounts(service).values())
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_no_shop_sees_another() -> None:
    for shop in SHOPS:
        (volume,) = mounts(SERVICES[shop]).values()
        (network,) = SERVICES[shop]["networks"]
        users = {name for name, one in SERVICES.items() if volume in mounts(one).values()}
        assert users == {shop, "setup"}
        reached = {name for name, one in SERVICES.items() if network in one.get("networks", ())}
        assert reached == {shop, HOLDER}
        assert COMPOSE["networks"][network] == {"internal": True}
    assert SERVICES["setup"]["network_mode"] == "none"
    assert SERVICES["setup"]["restart"] == "no"


def test_the_server_has_no_way_out_and_the_monitor_cannot_write() -> None:
    networks = SERVICES[HOLDER]["networks"]
    assert all(COMPOSE["networks"][name] == {"internal": True} for name in networks)
    (mount,) = SERVICES["monitor"]["volumes"]
    assert mount.endswith(":ro")


def test_the_guide_says_what_the_monitor_could_read_and_where_to_send_it() -> None:
    assert set(mounts(SERVICES["monitor"])) == {"/server"}
    open_ones = [n for n in SERVICES["monitor"]["networks"] if COMPOSE["networks"][n] is None]
    guide = (ROOT / "docs" / "guide" / "containers.md").read_text("utf-8")
    section = guide.partition("### What the monitor could do\n")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in (*PRIVATE, *LATER, *open_ones))


def test_published_ports_are_listened_on_from_outside() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert list(published) == ["monitor"]
    (port,) = published["monitor"]
    listen = parsed(entrypoint(SERVICES["monitor"]))["listen"]
    assert listen == f"0.0.0.0:{port.rpartition(':')[2]}"


def test_shops_are_told_where_the_server_is() -> None:
    setup, server = (parsed(entrypoint(SERVICES[name])) for name in ("setup", "server"))
    (host,) = setup["host"]
    assert all(joined["aliases"] == [host] for joined in SERVICES[HOLDER]["networks"].values())
    assert {*SHOPS, "watch"} == set(SERVICES[HOLDER]["networks"])
    assert server["listen"] == f"0.0.0.0:{setup['port']}"
    assert setup["shops"] == len(SHOPS)
    inner = {PurePosixPath(place).name for place in mounts(SERVICES["setup"])}
    assert inner == {"server", *SHOPS}


def test_what_is_inside_shares_a_loopback_that_outlives_it() -> None:
    """A container that is started again has a new network, if it is its own."""
    inside = parsed(entrypoint(SERVICES["server"]))["inside"]
    for name in ("server", "superexec", "train"):
        assert SERVICES[name]["network_mode"] == f"service:{HOLDER}"
        assert parsed(entrypoint(SERVICES[name]))["inside"] == inside
    assert entrypoint(SERVICES[HOLDER]) == ["sleep", "infinity"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_is_waited_for_can_come(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        waited = condition["condition"]
        if waited == "service_healthy":
            assert health(SERVICES[other]) is not None
        elif waited == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"
        else:
            assert waited == "service_started"


def test_the_last_stage_has_no_tools_and_no_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", final("USER")[-1])
    assert final("USER")[-1] == COMPOSE["x-part"]["user"]
    commands = " ".join(final("RUN"))
    assert not re.search(r"\b(apt-get|apt|gcc|make|git|curl|wget|pip3?\s+install)\b", commands)
    assert "pip uninstall --yes" in commands
    assert not [rest for word, rest in DOCKERFILE if word in ("ADD", "VOLUME", "EXPOSE")]
    copies = [shlex.split(rest) for rest in final("COPY")]
    assert copies == [["--from=build", "/opt/hushrec", "/opt/hushrec"]]


def test_both_stages_are_of_one_image_that_is_pinned_by_version() -> None:
    (argument,) = [rest for word, rest in DOCKERFILE[:FIRST] if word == "ARG"]
    name, _, image = argument.partition("=")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", image)
    froms = [DOCKERFILE[place][1] for place in (FIRST, LAST)]
    assert froms == [f"${{{name}}} AS build", f"${{{name}}} AS hushrec"]


def test_no_layer_has_a_secret() -> None:
    named = [rest.partition("=")[0] for word, rest in DOCKERFILE if word in ("ARG", "ENV")]
    assert not [name for name in named if re.search(r"TOKEN|SECRET|KEY|PASSWORD", name, re.I)]


def test_packages_are_those_of_the_constraints() -> None:
    pins = (ROOT / "constraints.txt").read_text("utf-8").split()
    runs = " ".join(rest for word, rest in DOCKERFILE if word == "RUN")
    named = re.findall(r"[\w-]+==[\w.]+", runs)
    assert named == ["torch==2.13.0"]
    assert set(named) <= set(pins)
    assert set(named) <= set(PROJECT["project"]["dependencies"])
    for install in re.findall(r"\bpip --python \S+ install [^&]*", runs):
        assert "--constraint constraints.txt" in install or "--no-deps" in install
    locked = {re.sub(r"[-_.]+", "-", pin.partition("==")[0].lower()) for pin in pins}
    for needed in PROJECT["project"]["dependencies"]:
        assert re.sub(r"[-_.]+", "-", re.split(r"[\[=<>~ ]", needed)[0].lower()) in locked


def test_only_the_lab_needs_ray() -> None:
    """The image leaves it out."""
    run = next(rest for word, rest in DOCKERFILE if word == "RUN" and "tomllib" in rest)
    assert "s/^flwr\\[simulation\\]/flwr/" in run
    assert [d for d in PROJECT["project"]["dependencies"] if d.startswith("flwr[simulation]==")]
    needing = set()
    for path in (p for name in _packages() for p in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "ray" for name in names):
                needing.add(path.relative_to(ROOT).as_posix())
    assert all(name.startswith("simulations/engine/") for name in needing)


def _packages() -> list[str]:
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    return [name.removesuffix("*") for name in found]


def test_every_package_is_copied_and_nothing_that_is_ignored() -> None:
    copies = [shlex.split(rest) for word, rest in DOCKERFILE[:LAST] if word == "COPY"]
    sources = {name for words in copies for name in words[:-1]}
    assert all((ROOT / name).exists() for name in sources)
    assert sources >= {*_packages(), *(f"{m}.py" for m in PROJECT["tool"]["setuptools"]["py-modules"])}  # fmt: skip # noqa: E501
    assert PROJECT["project"]["readme"] in sources
    tracked = _tracked()
    wanted = [f for f in tracked if f in sources or f.partition("/")[0] in sources]
    assert not [name for name in wanted if _is_ignored(name)]
    assert {f.partition("/")[0] for f in tracked if not _is_ignored(f)} == sources


def test_no_key_is_sent_to_whoever_builds() -> None:
    for name in (
        ".git/config", ".venv/bin/python", "runs/demo/clients/north/ledger_key.pem",
        "federation/server_key.pem", "shops/north/policy.toml", "client/x/roster_key.pem",
        "server/operator.token", "simulations/ledger.sqlite", "client/__pycache__/app.pyc",
    ):  # fmt: skip
        assert _is_ignored(name), name
    assert not _is_ignored("client/app.py")


def _tracked() -> list[str]:
    found = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if found.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in found.stdout.split("\0") if (ROOT / name).is_file()]


def _is_ignored(name: str) -> bool:
    """As Docker reads .dockerignore: the last line that fits a path or a folder above it."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    ignored = False
    for line in lines:
        pattern = line.removeprefix("!").strip()
        if not pattern or pattern.startswith("#"):
            continue
        path = PurePosixPath(name)
        if any(_fits(str(above), pattern) for above in (path, *path.parents[:-1])):
            ignored = not line.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    deep = pattern.removeprefix("**/")
    return fnmatch(path.rpartition("/")[2] if deep != pattern else path, deep)


def test_volumes_get_their_owner_from_the_image() -> None:
    """A new volume has the owner of the folder that it is mounted on."""
    (command,) = [rest for rest in final("RUN") if "install --directory" in rest]
    words = shlex.split(command.partition("install --directory")[2])
    made = {word for word in words if word.startswith("/")}
    user, _, group = final("USER")[-1].partition(":")
    assert {f"--owner={user}", f"--group={group}", "--mode=0700"} <= set(words)
    assert {place for service in SERVICES.values() for place in mounts(service)} <= made


def test_the_images_health_check_is_that_of_a_client() -> None:
    url = parsed(json.loads(final("HEALTHCHECK")[0].partition("CMD")[2]))["url"]
    monitor = parsed(["hushrec", "client", "run", "/client"])["monitor"]
    assert url == f"http://{monitor}/health"


def test_what_the_image_starts_by_default_exists() -> None:
    entry, default = (json.loads(final(word)[0]) for word in ("ENTRYPOINT", "CMD"))
    assert (entry, default) == (["hushrec"], ["--help"])
    assert PROJECT["project"]["scripts"] == {"hushrec": "hushrec:main"}
