"""The house rules that no linter knows, held over every source file."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("common", "client", "server", "simulations")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
SOURCES = [path for path in SOURCES if "_pb2" not in path.name]  # generated
SOURCES.append(ROOT / "hushrec.py")
MOST_LINES = 350
MAKES_NOISE = {"common/privacy/stream.py"}
MAKES_IDS = {
    "client/enroll/begin.py",
    "client/ledger_store.py",
    "client/sealed.py",
    "client/service/token.py",
    "common/secure_sum/keys.py",
    "common/secure_sum/shamir.py",
    "server/gateway/folder.py",
    "server/enroll/begin.py",
    "server/training/ordering.py",
    "simulations/commands.py",
    "simulations/engine/inprocess.py",
    "simulations/prepare.py",
}
"""Where `secrets` draws identifiers, nonces, tokens, seeds and shares, never noise."""
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
LOADERS = {"torch.load", "torch.save", "np.load", "numpy.load", "pd.read_pickle"}
SEEDERS = re.compile(r"(?:random|manual_seed|np\.random|numpy\.random)\.?(?:\w*seed\w*|set_state)$")
PUBLIC_RANDOMNESS = {"default_rng", "Generator", "PCG64", "SeedSequence"}
AMERICAN = re.compile(
    r"\b(?:colors?|behaviors?|favors?|neighbor\w*|centers?|centered|catalogs?|analyz\w+|"
    r"normaliz\w+|organiz\w+|optimiz(?:e|es|ed|ation)|recogniz\w+|regulariz\w+|quantiz\w+|"
    r"summariz\w+|minimiz\w+|maximiz\w+|labeled|modeling|canceled)\b",
    re.I,
)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of names, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return ""


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _calls(tree: ast.Module) -> set[str]:
    return {_dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imports(_tree(path))}


def test_the_sources_are_found():
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_privacy_is_never_left_to_assert(path):
    """`python -O` deletes assertions."""
    lines = [node.lineno for node in ast.walk(_tree(path)) if isinstance(node, ast.Assert)]
    assert not lines


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_is_unpickled_or_evaluated(path):
    tree = _tree(path)
    assert not _roots(path) & UNPICKLERS
    assert not _calls(tree) & (LOADERS | {"eval", "exec"})
    keywords = {
        k.arg: k.value for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords
    }
    allowed = keywords.get("allow_pickle")
    assert allowed is None or (isinstance(allowed, ast.Constant) and allowed.value is False)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_seeds_or_draws_from_a_global_generator(path):
    tree = _tree(path)
    assert "random" not in _roots(path)
    for call in _calls(tree):
        assert not SEEDERS.search(call), call
        found = re.match(r"(?:np|numpy)\.random\.(\w+)$", call)
        assert found is None or found[1] in PUBLIC_RANDOMNESS, call
        assert not call.startswith(("torch.rand", "torch.normal", "torch.manual_seed")), call


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_noise_has_one_source(path):
    name, tree = _name(path), _tree(path)
    roots = _roots(path)
    assert "randomgen" not in roots or name in MAKES_NOISE
    assert "secrets" not in roots or name in MAKES_NOISE | MAKES_IDS
    assert "os.urandom" not in _calls(tree)
    if name.startswith("common/privacy/") and name not in MAKES_NOISE:
        assert not {call for call in _calls(tree) if ".random." in call}


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_public_modules_say_what_is_public(path):
    tree = _tree(path)
    code = [node for node in tree.body if not isinstance(node, ast.Expr)]
    if path.name == "__main__.py" or (path.name == "__init__.py" and not code):
        return
    exported = _exported(tree)
    assert exported is not None, "no __all__"
    assert set(exported) <= _defined(tree)


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_modules_begin_with_what_they_are(path):
    assert ast.get_docstring(_tree(path))


def _tracked() -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if found.returncode != 0:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in found.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_place_on_one_machine():
    places = re.compile(r"(?<![\w.~/}])/(?:work|tmp|root|home)/\w")
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{_name(path)}: {line.strip()}" for line in text.splitlines() if places.search(line)
        ]
    assert not found


def test_prose_is_british():
    """Words outside code in the pages; identifiers follow the libraries."""
    found = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        text = re.sub(
            r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)|\[[a-z-]+\]|^# [a-z-]+$",
            "",
            text,
            flags=re.M | re.S,
        )
        found += [f"{_name(page)}: {match[0]}" for match in AMERICAN.finditer(text)]
    assert not found
