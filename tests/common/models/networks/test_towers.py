"""Towers and head: order and padding never matter, and a vector is refined by its own loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from common.models.networks.base import Dropout
from common.models.networks.towers import Towers

DIM, WIDTH, OWN, SHARED = 6, 3, 7, 11
PLAIN = Towers(
    dim=DIM, width=WIDTH, blocks=2, head=4, share_head=True,
    personal_steps=0, personal_rate=0.4, loss="implicit",
)  # fmt: skip
KINDS = {
    "plain": PLAIN,
    "bare": replace(PLAIN, width=0, blocks=0, head=0),
    "refined": replace(PLAIN, personal_steps=2),
    "refined-bare": replace(PLAIN, personal_steps=1, head=0),
    "personal-head": replace(PLAIN, share_head=False, personal_steps=3),
    "ridge": replace(PLAIN, pooling="ridge"),
    "ridge-refined": replace(PLAIN, pooling="ridge", share_head=False, personal_steps=2),
    "explicit": replace(PLAIN, loss="explicit"),
    "explicit-refined": replace(PLAIN, loss="explicit", share_head=False, personal_steps=2),
}
Given = tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]


@pytest.fixture(params=KINDS)
def towers(request: pytest.FixtureRequest) -> Towers:
    return KINDS[request.param]


def dense_of(towers: Towers) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    return {
        name: torch.from_numpy(value + rng.normal(0, 0.3, value.shape))
        for name, value in towers.initial(rng).items()
    }


def given_to(towers: Towers, counts: tuple[int, ...] = (OWN, 3, 1, 0)) -> Given:
    rng = np.random.default_rng(1)
    users, width = len(counts), towers.dim + towers.width
    present = torch.arange(OWN) < torch.tensor(counts)[:, None]
    known = present & torch.from_numpy(rng.random(present.shape) < 0.6)
    example = {
        "present": present,
        "known": known,
        "wanted": present & ~known,
        "rival": torch.from_numpy(rng.random((users, SHARED)) < 0.8),
        "correction": torch.from_numpy(rng.normal(size=users)),
        "own_popularity": torch.from_numpy(rng.normal(size=present.shape)),
        "shared_popularity": torch.from_numpy(rng.normal(size=(users, SHARED))),
        "rating": torch.from_numpy(rng.normal(size=present.shape)),
    }
    own, shared = (
        torch.from_numpy(rng.normal(size=shape)) for shape in ((users, OWN, width), (SHARED, width))
    )
    return dense_of(towers), own, shared, example


def test_it_begins_as_the_pooled_vectors_without_a_head() -> None:
    _, own, shared, example = given_to(PLAIN)
    dense = {
        name: torch.from_numpy(value).double()
        for name, value in PLAIN.initial(np.random.default_rng(0)).items()
    }
    person = PLAIN.personal(dense, PLAIN.items(dense, own), PLAIN.items(dense, shared), example)
    for user, known in enumerate(example["known"]):
        pooled = own[user, known, :DIM].sum(0) / max(1, int(known.sum())) ** 0.5
        expected = torch.nn.functional.layer_norm(pooled, (DIM,))
        torch.testing.assert_close(person[user], expected, rtol=1e-4, atol=1e-4)
    scores = PLAIN.scores(dense, person, PLAIN.items(dense, shared))
    torch.testing.assert_close(scores, person @ shared[:, :DIM].T)


def test_the_loss_is_the_mean_over_wanted_items_among_them_and_their_rivals() -> None:
    dense, own, shared, example = given_to(PLAIN)
    items, others = PLAIN.items(dense, own), PLAIN.items(dense, shared)
    person = PLAIN.personal(dense, items, others, example)
    found = PLAIN.losses(dense, own, shared, example)
    weight = dense["popularity_weight"]
    for user, wanted in enumerate(example["wanted"]):
        if not wanted.any():
            assert found[user] == 0
            continue
        own_logits = PLAIN.scores(dense, person[user], items[user, wanted])
        own_logits = own_logits + weight * example["own_popularity"][user, wanted]
        logits = PLAIN.scores(dense, person[user], others) + example["correction"][user]
        logits = logits + weight * example["shared_popularity"][user]
        total = torch.cat([own_logits, logits[example["rival"][user]]]).logsumexp(0)
        torch.testing.assert_close(found[user], (total - own_logits).mean())


def test_the_head_is_that_of_the_product() -> None:
    dense, own, *_ = given_to(PLAIN)
    items, person = PLAIN.items(dense, own), torch.ones(len(own), DIM).double() * 0.7
    product = person[:, None] * items
    inner = torch.nn.functional.gelu(product @ dense["head_wide"] + dense["head_bias"])
    expected = product.sum(-1) + inner @ dense["head_narrow"]
    torch.testing.assert_close(PLAIN.scores(dense, person, items), expected)


def test_a_vector_is_refined_by_the_gradient_of_its_known_items(towers: Towers) -> None:
    """The gradient that is written out is the one that torch makes of the loss."""
    dense, own, shared, example = given_to(towers)
    vectors = towers.items(dense, own), towers.items(dense, shared)
    rng = np.random.default_rng(2)
    person = torch.from_numpy(rng.normal(size=(len(own), towers.personal_dim)))

    def known_loss(values: torch.Tensor) -> torch.Tensor:
        return towers._loss(dense, values, vectors, example, "known").sum()

    found = towers._gradient(dense, person, vectors, example)
    torch.testing.assert_close(found, grad(known_loss)(person))
    assert found[:2].any()
    assert not found[3].any()


def test_gradients_go_through_the_refinement(towers: Towers) -> None:
    dense, own, shared, example = given_to(towers)
    torch.autograd.gradcheck(
        lambda vectors: towers.losses(dense, vectors, shared, example),
        own.requires_grad_(),
        fast_mode=True,
    )


def gradients(towers: Towers, given: Given) -> list[torch.Tensor]:
    """By dense parameters, own and shared vectors, of each user."""

    def loss(*values: Any) -> torch.Tensor:
        return towers.losses(*values)

    by = vmap(grad(loss, argnums=(0, 1, 2)), in_dims=(None, 0, None, 0))(*given)
    return [*by[0].values(), *by[1:]]


def test_users_are_mapped_as_they_are_alone(towers: Towers) -> None:
    dense, own, shared, example = given_to(towers)
    together = gradients(towers, (dense, own, shared, example))
    for user in range(len(own)):
        one = {name: value[user] for name, value in example.items()}
        by = grad(towers.losses, argnums=(0, 1, 2))(dense, own[user], shared, one)
        alone = [*by[0].values(), *by[1:]]
        for mapped, single in zip(together, alone, strict=True):
            torch.testing.assert_close(mapped[user], single)
    assert all(torch.isfinite(values).all() for values in together)


def test_padding_never_matters(towers: Towers) -> None:
    dense, own, shared, example = given_to(towers)
    other = torch.where(example["present"][..., None], own, own + 9.0)
    noise = dict(example)
    for name in ("own_popularity", "rating"):
        noise[name] = torch.where(example["present"], example[name], example[name] - 4.0)
    plain = gradients(towers, (dense, own, shared, example))
    changed = gradients(towers, (dense, other, shared, noise))
    for one, two in zip(plain, changed, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)
    assert not changed[-2][~example["present"]].any()


def test_the_order_of_events_never_matters(towers: Towers) -> None:
    dense, own, shared, example = given_to(towers)
    shuffle = torch.tensor([4, 2, 0, 6, 1, 5, 3])
    moved = {
        name: value[:, shuffle] if value.shape[1:] == (OWN,) else value
        for name, value in example.items()
    }
    torch.testing.assert_close(
        towers.losses(dense, own[:, shuffle], shared, moved),
        towers.losses(dense, own, shared, example),
    )


def test_refining_makes_the_known_items_more_likely() -> None:
    towers = replace(PLAIN, personal_steps=5, personal_rate=0.05)
    dense, own, shared, example = given_to(towers, (OWN, OWN, OWN))
    vectors = towers.items(dense, own), towers.items(dense, shared)
    before, after = (
        towers._loss(dense, kind.personal(dense, *vectors, example), vectors, example, "known")
        for kind in (PLAIN, towers)
    )
    assert (after < before).all()


def test_a_head_that_is_not_shared_has_no_parameters_to_release() -> None:
    shared, personal = KINDS["refined"], KINDS["personal-head"]
    rng = np.random.default_rng(0)
    assert {name for name in shared.initial(rng) if "head" in name} == {
        "head_wide", "head_bias", "head_narrow",
    }  # fmt: skip
    assert not {name for name in personal.initial(rng) if "head" in name}
    assert personal.personal_dim == shared.personal_dim + personal.head
    one, two = (replace(personal, head=4)._public_layer["head_wide"] for _ in range(2))
    assert torch.equal(one, two)


def test_nothing_is_drawn_from_torch_global_generator(towers: Towers) -> None:
    before = torch.get_rng_state()
    drop = Dropout(0.5, torch.Generator().manual_seed(1))
    towers.losses(*given_to(towers), drop)
    assert torch.equal(before, torch.get_rng_state())
