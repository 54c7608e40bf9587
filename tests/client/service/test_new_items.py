"""From the operator's command to a shopper's list: items that no training ever saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from client.guard import Entrance
from client.service.v1 import recommender_pb2 as pb
from client.store import ClientPlace
from common.errors import ArtifactError, Code
from server.delivery import promoted_message
from tests.client.enroll.shops import enrol_client, enrol_server, said
from tests.client.service.shop import ids, policy, refusal, serving
from tests.server.grown import KNOWN, register, write_products

FIRST, SECOND = "0001-1a2b3c4d", "0002-1a2b3c4d"
FRESH = (KNOWN, KNOWN + 1)
TEAS, NEW_TEA, NEW_COFFEE = ["i0", "i2", "i4"], f"i{FRESH[0]}", f"i{FRESH[1]}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An operator whose first version is promoted, and a shop beside it that serves it."""
    products = write_products(tmp_path / "products.csv", range(KNOWN))
    rows = [
        f"u{user},i{2 * at + user % 2},2026-01-0{at + 1}" for user in range(30) for at in (0, 1, 2)
    ]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,datetime", *rows, ""]))
    server = enrol_server(tmp_path / "home", "--catalogue", products)
    enrol_client(tmp_path / "north", "north", server)
    register(tmp_path / "home")
    said("server", "promote", tmp_path / "home", FIRST)
    deliver(tmp_path / "home")
    return tmp_path / "home"


def deliver(home: Path) -> None:
    """The signed message as every node is sent it, through the guard."""
    with Entrance.open(ClientPlace.open(home.parent / "north")) as entrance:
        entrance.take_model(promoted_message(home).to_records())


def added(home: Path) -> dict[str, Any]:
    file = write_products(home.parent / "new.csv", FRESH)
    return said("server", "add-items", home, FIRST, "--catalogue", file)


def shown(caller: Any, user: str = "u0") -> list[str]:
    return ids(caller.recommend(user, KNOWN + 2).items)


def test_a_shopper_is_shown_a_new_item_after_the_command_the_delivery_and_no_training(
    home: Path,
) -> None:
    north = home.parent / "north"
    with serving(north) as (_, caller):
        before = shown(caller)
        assert NEW_TEA not in before
        done = added(home)
        said("server", "promote", home, SECOND)
        with pytest.raises(ArtifactError) as refused:  # the owner has not taken the items yet
            deliver(home)
        assert refused.value.code is Code.ARTIFACT_CATALOGUE
        assert shown(caller) == before
        said("client", "catalogue", north, done["catalogue"])
        assert shown(caller) == before  # the old model, over the larger catalogue
        deliver(home)
        reply = caller.recommend("u0", KNOWN + 2)
        assert (reply.basis.model_version, reply.basis.held_back) == (SECOND, "")
        found = ids(reply.items)
        teas = [item for item in found if int(item[1:]) % 2 == 0]
        assert NEW_TEA in teas
        assert found.index(NEW_TEA) < found.index(NEW_COFFEE)
        assert set(found) == set(before) | {NEW_TEA, NEW_COFFEE}
        similar = caller.SimilarItems(pb.SimilarItemsRequest(item_id=NEW_TEA, top_k=5))
        assert all(int(item[1:]) % 2 == 0 for item in ids(similar.items))
        caller.record(("e1", "a-stranger", NEW_TEA))
        assert caller.recommend("a-stranger").basis.method == pb.SHOPPER
        said("server", "rollback", home)
        deliver(home)
        assert shown(caller) == before


def test_items_that_wait_for_their_model_are_found_and_not_recommended(home: Path) -> None:
    north = home.parent / "north"
    done = added(home)
    with serving(north) as (_, caller):
        before = shown(caller)
        said("client", "catalogue", north, done["catalogue"])
        found = caller.Search(pb.SearchRequest(query=f"tea {FRESH[0]}"))
        assert ids(found.items)[0] == NEW_TEA
        assert shown(caller) == before
        assert not caller.SimilarItems(pb.SimilarItemsRequest(item_id=NEW_TEA)).items
        explain = pb.ExplainRequest(user_id="u0", item_id=NEW_TEA)
        expected = (grpc.StatusCode.FAILED_PRECONDITION, "artifact-catalogue")
        assert refusal(lambda: caller.Explain(explain)) == expected
        caller.record(("e1", "u0", NEW_TEA), ("e2", "a-stranger", NEW_TEA))
        assert shown(caller) == before  # the model cannot tell what an event about it means
        assert caller.recommend("a-stranger").basis.method == pb.POPULARITY
        explained = caller.Explain(pb.ExplainRequest(user_id="u0", item_id="i6"))
        amounts = {part.item_id: part.amount for part in explained.contributions}
        assert set(amounts) == {*TEAS, NEW_TEA}
        assert amounts[NEW_TEA] == 0
        bundle = caller.Bundle(pb.BundleRequest(item_ids=["i0", NEW_TEA], size=3))
        assert len(bundle.items) == 3
        only = caller.Bundle(pb.BundleRequest(item_ids=[NEW_TEA], size=3))
        assert only.basis.method == pb.POPULARITY


def test_a_shop_model_of_the_old_items_answers_over_the_larger_catalogue(home: Path) -> None:
    north, larger = home.parent / "north", added(home)["catalogue"]
    (north / "policy.toml").write_text(policy("shop"))
    with serving(north) as (service, caller):
        assert service.desk.models.wait_tuned(60)
        before = caller.recommend("u0", KNOWN + 2)
        assert before.basis.serving == pb.SHOP
        said("client", "catalogue", north, larger)
        reply = caller.recommend("u0", KNOWN + 2)
        assert (reply.basis, ids(reply.items)) == (before.basis, ids(before.items))
    with serving(north) as (service, caller):  # and one that is trained with it
        assert service.desk.models.wait_tuned(60)
        again = caller.recommend("u0", KNOWN + 2)
        assert (again.basis, ids(again.items)) == (before.basis, ids(before.items))
