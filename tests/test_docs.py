"""The documentation is held to the code: codes, options, settings, commands, links."""

import ast
import json
import math
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import typer
from scipy.special import ndtr

from client.store import ClientSettings
from common.config import read_json, read_toml
from common.errors import Code
from common.privacy.gdp import gaussian_mu
from common.solvers.registry import SOLVERS
from common.solvers.sequential import RECENCY_TRAINING
from hushrec import command_line
from server.training.request import Request
from simulations.live import LiveView
from simulations.marketplace import MarketplaceSettings
from simulations.runner import start_run
from simulations.scenario import Scenario

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide"
ERRORS = ROOT / "docs" / "errors"
SECTIONED = (
    "audit.md", "client.md", "containers.md", "deployment.md", "doctor.md", "enrolment.md",
    "gateway.md", "models.md", "monitoring.md", "service.md", "training.md",
)  # fmt: skip
"""Guides that have a section for each command that they explain."""
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SCENARIOS = sorted((ROOT / "simulations" / "scenarios").glob("*.toml"))
OTHERS_OPTIONS = {"--help", "--constraint", "--strict", "--node-config", "--run-config"}
OTHERS_OPTIONS |= {"--heartbeat-seconds"}
"""Options in prose of every command, of pip, mypy or Flower, or of the launcher."""
OTHERS_COMMANDS = {".", "apt-get", "cat", "cd", "export", "git", "pytest", "python", "ruff"}
OTHERS_COMMANDS |= {"done", "for", "until"}
OTHERS_COMMANDS |= {"docker", "flower-superlink", "flower-supernode", "flwr", "ssh-keygen"}
OTHERS_COMMANDS |= {"systemctl"}


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


def _blocks(page: Path) -> Iterator[Block]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    for language, text in fenced:
        yield Block(page, language, text)


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def _commands(group: click.Command, name: str) -> dict[str, click.Command]:
    """Every command below `group` by its words, `hushrec audit verify`."""
    if not isinstance(group, click.Group):
        return {name: group}
    found: dict[str, click.Command] = {}
    for word, command in group.commands.items():
        found |= _commands(command, f"{name} {word}")
    return found


FRONT_DOOR = typer.main.get_command(command_line())
COMMANDS = _commands(FRONT_DOOR, "hushrec")


def _options(*names: str) -> set[str]:
    """Options of these commands, or of all."""
    commands = [COMMANDS[name] for name in names or COMMANDS]
    parameters = [p for c in commands for p in c.params if isinstance(p, click.Option)]
    named = [p for p in parameters if p.name != "help"]
    return {name for p in named for name in (*p.opts, *p.secondary_opts)}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def test_every_code_has_a_page_and_every_page_a_code():
    pages = {page.stem for page in ERRORS.glob("*.md")} - {"README"}
    assert pages == {str(code) for code in Code}


@pytest.mark.parametrize("code", list(Code), ids=str)
def test_a_page_says_what_happened_why_and_what_to_do(code):
    text = (ERRORS / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}\n")
    for heading in ("**What happened.**", "**Why.**", "**What to do.**"):
        assert heading in text


def test_the_index_of_errors_lists_every_code_once():
    listed = re.findall(r"\[([a-z-]+)\]\(\1\.md\)", (ERRORS / "README.md").read_text())
    assert sorted(listed) == sorted(map(str, Code))


def test_the_guide_lists_exactly_the_options_that_exist():
    table = (GUIDE / "simulate.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(--[a-z-]+)", table, re.M)
    assert sorted(listed) == sorted(_options("hushrec simulate"))


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"hushrec simulate"}))
def test_a_guide_lists_exactly_the_options_of_each_command(command):
    text = "".join((GUIDE / page).read_text(encoding="utf-8") for page in SECTIONED)
    section = re.search(rf"^## `{command}`\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert section is not None, f"{command} has no section"
    listed = re.findall(r"^\| `(--[a-z-]+)", section[1], re.M)
    assert sorted(listed) == sorted(_options(command))


def test_no_guide_has_a_command_that_does_not_exist():
    text = "".join((GUIDE / page).read_text(encoding="utf-8") for page in SECTIONED)
    assert set(re.findall(r"^## `(hushrec [a-z -]+)`$", text, re.M)) <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_page_speaks_of_an_option_that_does_not_exist(page):
    code = " ".join(re.findall(r"`([^`\n]+)`", _prose(page)))
    spoken = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code))
    assert spoken <= _options() | OTHERS_OPTIONS


def test_every_field_of_a_scenario_is_in_the_guide():
    text = (GUIDE / "simulate.md").read_text(encoding="utf-8")
    example = tomllib.loads(next(b.text for b in _blocks(GUIDE / "simulate.md") if _is_toml(b)))
    missing = {
        name
        for name in Scenario.model_fields
        if name not in example and not re.search(rf"`\[?{name}\]?`", text)
    }
    assert not missing


def test_every_field_of_the_marketplace_is_in_the_guide():
    text = (GUIDE / "data.md").read_text(encoding="utf-8")
    assert not {name for name in MarketplaceSettings.model_fields if f"`{name}`" not in text}


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_every_setting_of_a_solver_is_in_the_guide_with_its_default(solver):
    """The tables of docs/guide/solvers.md; a changed default is changed there as well."""
    module, _, attribute = SOLVERS[solver].partition(":")
    fields = getattr(import_module(module), attribute).Settings.model_fields
    expected = {
        name: "as there" if field.default_factory else str(field.default).lower()
        for name, field in fields.items()
    }
    text = (GUIDE / "solvers.md").read_text(encoding="utf-8")
    section = re.search(rf"^## `{solver}`\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert section is not None
    rows = re.findall(r"^\| `(\w+)`[^|]*\|.*\| ([^|]+) \|$", section[1], re.M)
    assert {name: default.strip().lower() for name, default in rows} == expected


def test_defaults_of_recency_are_in_the_guide():
    told = [b for b in _blocks(GUIDE / "solvers.md") if b.text.startswith("# recency")]
    assert [tomllib.loads(block.text) for block in told] == [RECENCY_TRAINING]


def test_every_key_of_the_result_is_in_the_guide():
    text = (GUIDE / "simulate.md").read_text(encoding="utf-8")
    tree = ast.parse((ROOT / "simulations" / "summary.py").read_text(encoding="utf-8"))
    keys = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    assert {"run", "metrics", "per_client", "gain_shop"} <= keys
    assert not {key for key in keys if f"`{key}`" not in text}


def _targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.M))


def _shell_lines() -> list[tuple[str, str]]:
    lines = []
    for block in BLOCKS:
        if block.language in ("sh", "bash", "shell", "console"):
            joined = block.text.replace("\\\n", " ")
            lines += [(_name(block.page), line) for line in joined.splitlines() if line.strip()]
    return lines


@pytest.mark.parametrize(("page", "line"), _shell_lines())
def test_commands_in_the_docs_exist(page, line):
    words = shlex.split(line, comments=True)
    words = words[: next((i for i, w in enumerate(words) if w in ("|", ">", "&&")), len(words))]
    if not words:
        return
    if words[0] == "make":
        assert {w for w in words[1:] if "=" not in w} <= _targets()
    elif words[0].endswith("hushrec"):
        _check_hushrec(words[1:])
    else:
        allowed = {".", "git"} if page == "README.md" else OTHERS_COMMANDS
        assert words[0] in allowed


def _check_hushrec(arguments: list[str]) -> None:
    """The command exists, and its options parse."""
    if "--help" in arguments:
        return
    group, words = FRONT_DOOR, list(arguments)
    while isinstance(group, click.Group):
        if words[0] not in group.commands and "run" in group.commands:
            words = ["run", *words]  # `audit RUN`
        group, words = group.commands[words[0]], words[1:]
    if arguments[0] == "simulate":
        _check_simulate(group, words)
    else:
        group.make_context(arguments[0], words)


def _check_simulate(command: click.Command, arguments: list[str]) -> None:
    """Options parse, and mean a scenario that is in order."""
    context = command.make_context("simulate", list(arguments))
    given = {k: v for k, v in context.params.items() if k in Scenario.model_fields}
    values = {k: v for k, v in given.items() if v is not None and k != "scenario"}
    path = context.params.get("scenario")
    if path is not None and (ROOT / path).exists():
        values = {**read_toml(ROOT / path), **values}
    scenario = Scenario.load(values).checked()
    assert scenario.solver in SOLVERS


def test_the_readme_shows_the_two_commands():
    lines = [line for page, line in _shell_lines() if page == "README.md"]
    assert [shlex.split(line, comments=True) for line in lines[:2]] == [
        ["make", "demo"],
        ["make", "test"],
    ]


def _is_toml(block: Block) -> bool:
    return block.language == "toml"


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language in ("toml", "json", "python")], ids=lambda b: b[1]
)
def test_blocks_parse_and_mean_something(block):
    """TOML that begins with `# scenario`, `# request` or `# client.toml` is validated as such."""
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "json":
        json.loads(block.text)
    else:
        values = tomllib.loads(block.text)
        if block.text.startswith("# scenario"):
            Scenario.load(values).checked()
        elif block.text.startswith("# request"):
            Request.load(values).checked()
        elif block.text.startswith("# client.toml"):
            ClientSettings.load(values)


def test_scenarios_in_the_guide_say_that_they_are():
    blocks = [b for b in BLOCKS if _is_toml(b) and b.page.name in ("simulate.md", "data.md")]
    assert len(blocks) >= 2
    assert all(block.text.startswith("# scenario") for block in blocks)


def test_there_is_a_demo():
    assert ROOT / "simulations" / "scenarios" / "demo.toml" in SCENARIOS


@pytest.mark.parametrize("path", SCENARIOS, ids=_name)
def test_scenario_files_are_in_order(path):
    assert Scenario.load_toml(path).checked().solver in SOLVERS


def _slug(heading: str) -> str:
    """As GitHub makes anchors."""
    plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return plain.strip().replace(" ", "-")


def _links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", _prose(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_within_the_project_resolve(page):
    broken = []
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(link)
        elif anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", _prose(target), re.M)
            if anchor not in map(_slug, headings):
                broken.append(link)
    assert not broken


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "decisions"
    pages = {page.name for page in folder.glob("[0-9]*.md")}
    assert pages == {link for link in _links(folder / "README.md") if link[0].isdigit()}
    for page in pages:
        text = (folder / page).read_text(encoding="utf-8")
        assert all(part in text for part in ("**Context.**", "**Decision.**", "**Given up.**"))


def test_the_table_of_epsilons_is_computed_right():
    text = (GUIDE / "privacy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    assert len(rows) == 5
    for epsilon, any_mechanism, gaussian in rows:
        odds = math.exp(float(epsilon))
        assert float(any_mechanism) == pytest.approx(odds / (1 + odds), abs=6e-4)
        mu = gaussian_mu(float(epsilon), 1e-5)
        assert float(gaussian) == pytest.approx(float(ndtr(mu / 2)), abs=6e-4)


def test_a_scenario_as_a_run_folder_keeps_it_can_be_given_again(tmp_path):
    """The report names `--scenario RUN/scenario.json` as the way to repeat a run."""
    path = tmp_path / "scenario.json"
    path.write_text(Scenario(epsilon=4.0, seed=3).model_dump_json(indent=2))
    assert Scenario.load(read_json(path)) == Scenario(epsilon=4.0, seed=3)


@pytest.fixture(scope="module", params=["local", "distributed"])
def finished(request, tmp_path_factory):
    """A small run, from scenario to report."""
    more = {"mode": "distributed", "record_sums": True} if request.param != "local" else {}
    market = MarketplaceSettings(users=90, items=40, categories=4, shops=3, events_per_user=12.0)
    asked = {"rounds": 1, "dim": 4, "evaluation_share": 0.05, "min_users": 1, "seed": 1}
    scenario = Scenario(marketplace=market, **asked, **more)
    folder = tmp_path_factory.mktemp("docs") / "run"
    with LiveView() as view:
        return folder, start_run(scenario, folder, view, force=False)


def test_the_guide_lists_every_file_of_a_run(finished):
    folder, _ = finished
    text = (GUIDE / "simulate.md").read_text(encoding="utf-8")
    section = re.search(r"^## The run folder\n(.*?)^## ", text, re.M | re.S)
    assert section is not None
    patterns = set(re.findall(r"`([\w./-]+)`", section[1]))
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    names = {re.sub(r"clients/[^/]+", "clients/NAME", path.as_posix()) for path in found}
    names = {re.sub(r"step-\d{4}", "step-NNNN", name) for name in names}
    names = {re.sub(r"session-\d+", "session-N", name) for name in names}
    names = {re.sub(r"words-.+\.", "words-NAME.", name) for name in names}
    known = {name for name in names if _is_listed(name, patterns)}
    assert names - known == {".lock"}


def _is_listed(name: str, patterns: set[str]) -> bool:
    """By its whole path, or by its name in a row about its folder."""
    folder, _, base = name.rpartition("/")
    places = {f"{folder}/", f"{folder}/client.toml", f"{folder}/events.parquet"}
    return name in patterns or (base in patterns and bool(places & patterns))


def test_the_result_has_the_keys_that_the_guide_lists(finished):
    _, result = finished
    text = (GUIDE / "simulate.md").read_text(encoding="utf-8")
    section = re.search(r"^## The result as JSON\n(.*)", text, re.M | re.S)
    assert section is not None
    listed = re.findall(r"^\| `(\w+)` \|", section[1], re.M)
    assert sorted(listed) == sorted(result)
    assert {f"`{name}`" for name in result["metrics"]} <= set(re.findall(r"`[^`]+`", section[1]))
    assert {f"`{name}`" for name in result["baselines"]} <= set(re.findall(r"`[^`]+`", section[1]))
