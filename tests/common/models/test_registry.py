"""Kinds of models: what is loaded by name, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from common.config import Settings
from common.errors import ArtifactError, Code, InboundError
from common.manifest import Manifest
from common.models.mf import FoldIn, MatrixFactorisation
from common.models.registry import KINDS, model_class, model_from, model_specs
from common.privacy.inbound import ArraySpec, check_arrays
from common.privacy.signing import SigningKey
from common.solvers.registry import SOLVERS
from tests.kinds import NAME, Drift, a_drift, know_drift
from tests.sent_models import a_message, a_model, manifest_of

WHAT_WAS_SIGNED = "4dca4d4b0dae7aec790ed51cd689469bec232963ceb21732dd7ced9ff2366a91"
"""Digest of that message by the version before there were kinds."""


def refused(code: Code, call: Any) -> ArtifactError:
    with pytest.raises((ArtifactError, InboundError)) as caught:
        call()
    assert caught.value.code is code
    return caught.value  # type: ignore[return-value]


def test_matrix_factorisation_is_rebuilt_to_the_last_bit() -> None:
    model = a_model()
    again = model_from("mf", model.settings.model_dump(mode="json"), model.arrays())
    assert isinstance(again, MatrixFactorisation)
    assert again.settings == model.settings
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    np.testing.assert_array_equal(again.item_vectors, model.item_embeddings)


def test_settings_may_be_those_of_the_class_already() -> None:
    assert model_from("mf", FoldIn(), a_model().arrays()).settings == FoldIn()


@pytest.mark.parametrize("kind", ["", "MF", "nobody-knows", "common.models.mf:FoldIn", "x" * 500])
def test_a_kind_that_is_not_listed_is_refused(kind: str) -> None:
    error = refused(Code.MODEL_KIND, lambda: model_from(kind, {}, {}, where="there"))
    assert error.where == "there"
    assert len(str(error)) < 300


def test_a_kind_whose_module_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "gone", "common.models.gone:Gone")  # type: ignore[arg-type]
    error = refused(Code.MODEL_KIND, lambda: model_class("gone"))
    assert "common.models.gone" in error.message


@pytest.mark.parametrize("settings", [{"unknown": 1}, {"regularisation": -1.0}])
def test_settings_that_the_kind_does_not_have_make_no_model(settings: dict[str, Any]) -> None:
    refused(Code.ARTIFACT_INVALID, lambda: model_from("mf", settings, a_model().arrays()))
    refused(Code.ARTIFACT_INVALID, lambda: model_specs("mf", settings, 60, a_model().arrays()))


def test_a_receiver_demands_what_the_kind_says(monkeypatch: pytest.MonkeyPatch) -> None:
    know_drift(monkeypatch)
    model = a_drift()
    check_arrays(model.arrays(), model_specs(NAME, model.settings, 60, model.arrays()))
    assert model_class(NAME) is Drift
    variance = {**a_model().arrays(), "noise_variance": np.ones(60, np.float32)}
    assert set(model_specs("mf", {}, 60, variance)) == set(variance)
    assert model_specs("mf", {}, 60, a_model().arrays()) == MatrixFactorisation.specs_of(60, 4)


@pytest.mark.parametrize("shape", [(60,), (60, 0), (60, 513)])
def test_vectors_of_no_length_or_too_great_a_one_are_refused(shape: tuple[int, ...]) -> None:
    arrays = {"item_embeddings": np.zeros(shape, np.float32)}
    refused(Code.INBOUND_ARRAY, lambda: model_specs("mf", {}, 60, arrays))
    refused(Code.INBOUND_ARRAY, lambda: model_specs("mf", {}, 60, {}))


def test_the_manifest_of_an_old_model_is_written_as_it_was() -> None:
    """Files, hashes and signatures from before there were kinds stay good."""
    about = manifest_of(a_model().arrays())
    assert about.model == "mf"
    for written in (about.model_dump(mode="json"), json.loads(about.model_dump_json())):
        assert "model" not in written
        assert Manifest.load(written) == about
    message = a_message(SigningKey.create(), 5, seed=4)
    assert message.digest == WHAT_WAS_SIGNED
    other = about.model_copy(update={"model": NAME})
    assert json.loads(other.model_dump_json())["model"] == NAME
    assert Manifest.load(other.model_dump(mode="json")).model == NAME


@pytest.mark.parametrize("solver", ["subspace", "ials", "dpsgd", "popularity"])
def test_solvers_of_matrix_factorisation_say_so(solver: str) -> None:
    module, _, name = SOLVERS[solver].partition(":")
    made = getattr(__import__(module, fromlist=[name]), name)
    assert made.model_kind == MatrixFactorisation.kind
    assert isinstance(FoldIn(), Settings)
    assert MatrixFactorisation.specs_of(3, 2)["item_embeddings"] == ArraySpec((3, 2))


SERVES = """
import sys
from pathlib import Path
from client.models import ModelStore
from client.service.answers import recommend
from client.service.desk import Desk
from client.service.v1 import recommender_pb2 as pb
import client.guard.sent_model, client.doctor.command
import server.delivery, server.models, server.registry
import common.models.registry
desk = Desk.open(Path(sys.argv[1]))
assert recommend(desk, pb.RecommendRequest(user_id="u1")).items
assert not {"torch", "opacus"} & set(sys.modules)
"""


def test_who_serves_matrix_factorisation_alone_loads_no_torch(tmp_path: Any) -> None:
    from tests.client.service.shop import deliver, make_shop

    folder = make_shop(tmp_path / "north")
    deliver(folder)
    done = subprocess.run(
        [sys.executable, "-c", SERVES, folder], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
