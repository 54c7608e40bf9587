"""A bundle is compared by its hash and by nothing else; an empty list lists none."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from client.launcher.bundle import Bundle, check_bundle, file_sha256
from common.errors import Code, DataError, PolicyError
from common.privacy.policy import Policy
from hushrec import command_line
from tests.conftest import Shop

CONTENT = b"some bytes"
HASH = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"others").hexdigest()
LAUNCHER = Path(__file__).resolve().parents[3] / "client" / "launcher"


def policy(*bundles: str) -> Policy:
    return Policy.load({"lifetime": {"epsilon": 8.0, "delta": 1e-5}, "bundles": bundles})


def came(**changes: str) -> Bundle:
    said = {"named": HASH, "delivered": HASH, "task_type": "flwr-serverapp", **changes}
    return Bundle.of(CONTENT, **said)


def refusal(policy: Policy, bundle: Bundle) -> str:
    with pytest.raises(PolicyError) as caught:
        check_bundle(policy, bundle)
    assert caught.value.code is Code.POLICY_BUNDLE
    return caught.value.message


def test_a_listed_bundle_is_let_in() -> None:
    check_bundle(policy(OTHER, HASH), came())


def test_an_empty_list_lists_none_and_says_so() -> None:
    assert "no bundle at all" in refusal(policy(), came())


def test_an_unlisted_bundle_is_named() -> None:
    assert HASH in refusal(policy(OTHER), came())


@pytest.mark.parametrize("field", ["named", "delivered"])
@pytest.mark.parametrize("name", [OTHER, "", HASH.upper(), HASH[:-1]])
def test_a_listed_name_for_other_bytes_is_refused(field: str, name: str) -> None:
    refusal(policy(HASH, OTHER), came(**{field: name}))


@pytest.mark.parametrize("kind", ["flwr-agentapp", "flwr-simulation", "flwr-model", "x" * 999])
def test_a_run_that_no_server_app_drives_is_refused(kind: str) -> None:
    refusal(policy(HASH), came(task_type=kind))


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_only_their_hash_counts(content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    bundle = Bundle.of(content, named=found, delivered=found, task_type="")
    check_bundle(policy(found), bundle)
    assert set(bundle.model_dump().values()) == {found, ""}


def test_the_launcher_has_no_way_to_open_a_bundle_or_to_load_from_one() -> None:
    """Neither zip files, nor Flower's installer and loader, nor a longer path for imports."""
    for path in sorted(LAUNCHER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            module = getattr(node, "module", None) or ""
            for name in (*names, module):
                assert not name.startswith(("zipfile", "tarfile", "shutil", "flwr.cli")), path
                assert name not in {"install_from_fab", "get_load_client_app_fn"}, path
            assert not (isinstance(node, ast.Attribute) and node.attr == "path"), path


def test_the_command_prints_what_a_policy_lists(tmp_path: Path) -> None:
    file = tmp_path / "hushrec.fab"
    file.write_bytes(CONTENT)
    done = CliRunner().invoke(command_line(), ["bundle", str(file)])
    assert (done.exit_code, done.stdout) == (0, f"{HASH}\n")


@pytest.mark.parametrize(("bundles", "status"), [((HASH,), 0), ((OTHER,), 1), ((), 1)])
def test_the_command_says_whether_a_client_lists_it(
    shop: Shop, bundles: tuple[str, ...], status: int
) -> None:
    shop.allow(bundles=bundles)
    arguments = ["bundle", HASH, "--client", str(shop.folder), "--format", "json"]
    done = CliRunner().invoke(command_line(), arguments)
    assert done.exit_code == status
    assert json.loads(done.stdout) == {"sha256": HASH, "listed": status == 0}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        file_sha256(tmp_path / "none.fab")
