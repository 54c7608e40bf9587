"""`hushrec server add-items`: more items in a version, by the real command and files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from common.artifacts import load_artifact
from common.catalogue import Catalogue
from common.errors import Code
from common.features.hashed import HashedEncoder
from common.features.narrow import narrowed
from common.models.registry import model_class, model_from, model_specs
from server.catalogues import home_catalogue
from server.delivery import promoted_message
from server.models import Models
from tests.client.enroll.shops import enrol_server, hushrec, refusal, said
from tests.kinds import a_drift
from tests.server.grown import JOB, KNOWN, register, write_products

FIRST, SECOND, THIRD = "0001-1a2b3c4d", "0002-1a2b3c4d", "0003-1a2b3c4d"
FRESH = range(KNOWN, KNOWN + 6)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    products = write_products(tmp_path / "products.csv", range(KNOWN))
    enrol_server(tmp_path / "home", "--catalogue", products)
    assert register(tmp_path / "home") == FIRST
    write_products(tmp_path / "new.csv", FRESH)
    return tmp_path / "home"


def add(home: Path, version: str = FIRST, *more: object) -> dict[str, Any]:
    return said("server", "add-items", home, version, *more)


def with_file(home: Path) -> tuple[object, ...]:
    return "--catalogue", home.parent / "new.csv"


def test_a_version_with_new_items_says_where_it_is_from(home: Path) -> None:
    old, before = load_artifact(home / "models" / FIRST)
    done = add(home, FIRST, *with_file(home))
    assert done["version"] == SECOND
    assert done["item_ids"] == [f"i{item}" for item in FRESH]
    arrays, manifest = load_artifact(home / "models" / SECOND)
    assert manifest.added is not None
    added = manifest.added
    assert (added.version, added.sha256, added.trained, added.items) == (
        FIRST, before.sha256, KNOWN, 6,
    )  # fmt: skip
    assert "hashed" in added.features
    same = ("privacy", "private", "heads", "job_id", "step", "settings", "name", "model")
    for name in same:
        assert getattr(manifest, name) == getattr(before, name)
    for name, array in old.items():
        assert arrays[name][:KNOWN].tobytes() == array.tobytes()
    catalogue = Catalogue.load(home / "models" / SECOND / "catalogue.json")
    assert catalogue.version == manifest.catalogue_version == done["catalogue_version"]
    assert catalogue.first(KNOWN).version == before.catalogue_version
    assert "added" not in json.loads((home / "models" / FIRST / "manifest.json").read_text())


def test_a_new_tea_is_like_the_teas(home: Path) -> None:
    add(home, FIRST, *with_file(home))
    vectors = load_artifact(home / "models" / SECOND)[0]["item_embeddings"][KNOWN:]
    assert (vectors.argmax(axis=1) == np.arange(6) % 2).all()


def test_the_same_once_more_is_the_same_version(home: Path) -> None:
    first = add(home, FIRST, *with_file(home))
    assert add(home, FIRST, *with_file(home)) == first
    assert [one.version for one in Models(home).versions()] == [FIRST, SECOND]
    found = Models(home).of_job(JOB)
    assert found is not None
    assert found.version == FIRST  # what the training came to


def test_it_is_promoted_delivered_and_rolled_back_as_any_other(home: Path) -> None:
    said("server", "promote", home, FIRST)
    small = home_catalogue(home)
    done = add(home, FIRST, *with_file(home))
    assert home_catalogue(home).version == small.version  # nothing is in use before it is promoted
    said("server", "promote", home, SECOND)
    assert home_catalogue(home).version == done["catalogue_version"]
    message = promoted_message(home)
    assert (message.version, message.serial) == (SECOND, 2)
    assert message.manifest.catalogue_version == done["catalogue_version"]
    assert message.manifest.heads == {}
    assert said("server", "rollback", home)["version"] == FIRST
    assert promoted_message(home).manifest.catalogue_version == small.version
    assert home_catalogue(home).version == done["catalogue_version"]
    listed = said("server", "models", home)["versions"]
    assert [one["added"] and one["added"]["version"] for one in listed] == [None, FIRST]
    assert f"    {FIRST} with 6 new items" in hushrec("server", "models", home).stdout


def test_items_are_added_to_a_version_with_added_items(home: Path) -> None:
    add(home, FIRST, *with_file(home))
    more = write_products(home.parent / "more.csv", [50])
    done = add(home, SECOND, "--catalogue", more)
    assert (done["version"], done["item_ids"]) == (THIRD, ["i50"])
    assert (done["added"]["trained"], done["added"]["items"]) == (KNOWN, 1)


def test_a_later_training_of_the_old_items_catches_up_without_a_file(home: Path) -> None:
    """A job that was under way when the catalogue grew is about the old items."""
    late = register(home, job="5e6f7a8b" * 4)
    add(home, FIRST, *with_file(home))
    assert refusal("server", "add-items", home, late) == Code.CATALOGUE_INVALID
    said("server", "promote", home, "0003-1a2b3c4d")
    done = add(home, late)
    assert done["item_ids"] == [f"i{item}" for item in FRESH]
    assert done["catalogue_version"] == home_catalogue(home).version


def test_two_futures_of_one_catalogue_are_not_promoted_one_after_the_other(home: Path) -> None:
    add(home, FIRST, *with_file(home))
    other = write_products(home.parent / "other.csv", [60])
    add(home, FIRST, "--catalogue", other)
    said("server", "promote", home, SECOND)
    assert refusal("server", "promote", home, THIRD) == Code.ARTIFACT_CATALOGUE
    assert said("server", "models", home)["promoted"]["version"] == SECOND


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("item_id,title,category\ni3,dark coffee 3,coffee\n", Code.CATALOGUE_INVALID),
        ("item_id,title\ni90,green tea\n", Code.CATALOGUE_INVALID),
        ("item_id,title,category,brand\ni90,green tea,tea,x\n", Code.CATALOGUE_INVALID),
        ("item_id,title,category\ni90,,\n", Code.CATALOGUE_INVALID),
        ("item_id,title,category\n", Code.CATALOGUE_INVALID),
        (None, Code.DATA_NOT_FOUND),
    ],
)
def test_what_is_no_list_of_new_items_is_refused(home: Path, text: str | None, code: Code) -> None:
    file = home.parent / "wrong.csv"
    if text is not None:
        file.write_text(text)
    assert refusal("server", "add-items", home, FIRST, "--catalogue", file) == code
    assert [one.version for one in Models(home).versions()] == [FIRST]


def test_nothing_new_unknown_versions_and_no_home_are_said(home: Path, tmp_path: Path) -> None:
    assert refusal("server", "add-items", home, FIRST) == Code.CATALOGUE_INVALID
    assert refusal("server", "add-items", home, SECOND, *with_file(home)) == Code.MODEL_UNKNOWN
    nowhere = ("server", "add-items", tmp_path / "nowhere", FIRST)
    assert refusal(*nowhere) == Code.CONFIG_NOT_FOUND
    (home / "catalogue.json").unlink()
    assert refusal("server", "add-items", home, FIRST) == Code.CONFIG_NOT_FOUND


def test_a_version_of_another_catalogue_is_refused(home: Path) -> None:
    products = write_products(home.parent / "turned.csv", range(KNOWN - 1, -1, -1))
    Catalogue.read_product_file(products).save(home / "catalogue.json")
    words = ("server", "add-items", home, FIRST, *with_file(home))
    assert refusal(*words) == Code.ARTIFACT_CATALOGUE


def test_a_kind_that_has_no_such_map_is_refused(home: Path) -> None:
    version = register(home, a_drift(KNOWN), job="5e6f7a8b" * 4)
    words = ("server", "add-items", home, version, *with_file(home))
    assert refusal(*words) == Code.MODEL_KIND


def write_vectors(path: Path, items: range) -> Path:
    rng = np.random.default_rng(0)
    vectors = np.eye(2)[np.array(items) % 2] + 0.1 * rng.standard_normal((len(items), 2))
    save_file({"vectors": vectors.astype(np.float32)}, str(path))
    path.with_suffix(".item_ids").write_text("".join(f"i{item}\n" for item in items))
    return path


def test_vectors_that_somebody_made_stand_beside_the_words(home: Path) -> None:
    whole = write_vectors(home.parent / "images.safetensors", range(KNOWN + 6))
    done = add(home, FIRST, *with_file(home), "--vectors", whole)
    assert "images.safetensors" in done["added"]["features"]


def test_a_name_that_is_no_text_is_written_as_one(home: Path) -> None:
    file = home.parent / os.fsdecode(b"images\xff.safetensors")
    write_vectors(home.parent / "images.safetensors", range(KNOWN + 6)).rename(file)
    (home.parent / "images.item_ids").rename(file.with_suffix(".item_ids"))
    done = add(home, FIRST, *with_file(home), "--vectors", file)
    assert "vectors images?.safetensors" in done["added"]["features"]


@pytest.mark.parametrize("items", [range(KNOWN), range(KNOWN, KNOWN + 6), range(90, 95)])
def test_vectors_of_old_items_alone_or_of_new_ones_tell_nothing(home: Path, items: range) -> None:
    file = write_vectors(home.parent / "images.safetensors", items)
    words = ("server", "add-items", home, FIRST, *with_file(home), "--vectors", file)
    assert refusal(*words) == Code.DATA_FORMAT


def neural(home: Path, features: Any) -> str:
    settings = model_class("neural").Settings.load({"embedding_dim": 4, "feature_width": 3})
    rng = np.random.default_rng(0)
    specs = model_specs("neural", settings, KNOWN, {})
    arrays = {name: rng.random(spec.shape, np.float32) for name, spec in specs.items()}
    model = model_from("neural", settings, {**arrays, "features": features})
    return register(home, model, job="5e6f7a8b" * 4)


def test_features_that_a_network_reads_are_made_as_they_were(home: Path) -> None:
    wide = HashedEncoder().encode(home_catalogue(home)).values
    version = neural(home, narrowed(wide, 3))
    done = add(home, version, *with_file(home))
    arrays, _ = load_artifact(home / "models" / done["version"])
    old, new = arrays["features"][:KNOWN], arrays["features"][KNOWN:]
    teas, coffees = old[::2].mean(axis=0), old[1::2].mean(axis=0)
    for place, row in enumerate(new):
        near, far = (teas, coffees) if place % 2 == 0 else (coffees, teas)
        assert np.linalg.norm(row - near) < np.linalg.norm(row - far)


def test_features_that_were_made_otherwise_cannot_be_made_again(home: Path) -> None:
    version = neural(home, np.ones((KNOWN, 3), np.float32))
    words = ("server", "add-items", home, version, *with_file(home))
    assert refusal(*words) == Code.ARTIFACT_INVALID


def test_without_json_it_says_what_comes_next(home: Path) -> None:
    done = hushrec("server", "add-items", home, FIRST, *with_file(home))
    assert done.exit_code == 0, done.output
    assert f"version   {SECOND}, made of {FIRST}" in done.stdout
    assert "i40, i41, i42, i43, i44, …" in done.stdout
    assert str(home / "models" / SECOND / "catalogue.json") in done.stdout.replace("\n", "")
    assert "hushrec client catalogue" in done.stdout
