"""Answers of the service: each a function of a request and of what lies on this disk.

Guarantee:
    Under `joint` serving an answer depends on the events of the shopper whom it is about, on
    the public catalogue and on released values, and on no other shopper's events. Similar
    items, bundles and search depend on no events at all, whatever the policy says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from client.service.checks import (
    LONGEST_ID,
    LONGEST_QUERY,
    MOST_BUNDLED,
    MOST_ITEMS,
    MOST_LISTED,
    check_list,
    count_of,
    named,
    text_of,
)
from client.service.desk import Desk
from client.service.index import Mask, cosines, top_items
from client.service.served import Served
from client.service.shelf import Shelf, categories_of
from client.service.v1 import recommender_pb2 as pb
from common.arrays import Floats, Histories, Ints
from common.errors import ArtifactError, Code
from common.models.weights import RatingUnits

__all__ = ["bundle", "explain", "profile", "recommend", "search", "similar_items"]


def recommend(desk: Desk, request: pb.RecommendRequest) -> pb.RecommendReply:
    """What a shopper may like next.

    Raises:
        HushRecError: `request-invalid`, `catalogue-mismatch`, `model-missing` and other codes
            of the model and the policy.
    """
    stock = desk.stock
    user_id, context = _shopper(stock.shelf, request.user_id, request.context_item_ids)
    count = count_of(request.top_k, 10, MOST_ITEMS, "top_k")
    allowed = _allowed(stock.shelf, request.filter)
    served = desk.models.answering(stock)
    history = desk.history(stock, user_id, context)
    vector = served.vector(history)
    allowed[context if request.include_known else history.items] = False
    scores = served.scores(vector)
    best = top_items(scores, count, allowed)
    items = _items(stock.shelf, best, served.shown(vector, scores))
    basis = desk.basis(_method(vector), served, scored=True)
    return pb.RecommendReply(basis=basis, items=items)


def similar_items(desk: Desk, request: pb.SimilarItemsRequest) -> pb.SimilarItemsReply:
    """Items whose released vectors point the same way; none for an item without a vector.

    Raises:
        HushRecError: `request-invalid`, `catalogue-mismatch`, and codes of the model.
    """
    stock = desk.stock
    item = stock.shelf.position(named(request.item_id, "item_id"))
    count = count_of(request.top_k, 10, MOST_ITEMS, "top_k")
    allowed = _allowed(stock.shelf, request.filter)
    served = desk.models.released(stock)
    allowed[item] = False
    scores = cosines(served.directions, item)
    items = _items(stock.shelf, top_items(scores, count, allowed), scores)
    return pb.SimilarItemsReply(basis=desk.basis(pb.ITEMS, served), items=items)


def bundle(
    desk: Desk, request: pb.BundleRequest, still: Callable[[], object] = lambda: None
) -> pb.BundleReply:
    """Items that complete a set: one after the other, each what a shopper with it would like.

    The set is folded in as if it were a shopper's history, by released vectors alone.

    Args:
        desk: what is answered from.
        request: the set.
        still: raises when nobody waits any more.

    Raises:
        HushRecError: `request-invalid`, `catalogue-mismatch`, and codes of the model.
    """
    stock = desk.stock
    check_list(request.item_ids, MOST_LISTED, "item_ids")
    named(next(iter(request.item_ids), ""), "item_ids")
    chosen = stock.shelf.positions([text.strip() for text in request.item_ids], "item_ids")
    count = count_of(request.size, 3, MOST_BUNDLED, "size")
    allowed = _allowed(stock.shelf, request.filter)
    served = desk.models.released(stock)
    known = bool(served.vector(stock.history(chosen)).any())
    items: list[pb.Item] = []
    for _ in range(count):
        still()
        allowed[chosen] = False
        vector = served.vector(stock.history(chosen))
        scores = served.scores(vector)
        best = top_items(scores, 1, allowed)
        if not len(best):
            break
        items += _items(stock.shelf, best, served.shown(vector, scores))
        chosen = np.concatenate([chosen, best])
    basis = desk.basis(pb.ITEMS if known else pb.POPULARITY, served, scored=True)
    return pb.BundleReply(basis=basis, items=items)


def search(desk: Desk, request: pb.SearchRequest) -> pb.SearchReply:
    """Items of the catalogue that have the words of a query. Needs no model.

    Raises:
        HushRecError: `request-invalid`, or `catalogue-mismatch` for an unknown category.
    """
    shelf = desk.stock.shelf
    query = text_of(request.query, LONGEST_QUERY, "query")
    named(query[:1], "query")
    count = count_of(request.top_k, 10, MOST_ITEMS, "top_k")
    allowed = _allowed(shelf, request.filter)
    scores = shelf.search.scores(query)
    items = _items(shelf, top_items(scores, count, allowed), scores)
    return pb.SearchReply(basis=desk.basis(pb.CATALOGUE), items=items)


def explain(
    desk: Desk, request: pb.ExplainRequest, still: Callable[[], object] = lambda: None
) -> pb.ExplainReply:
    """What each of a shopper's own items adds to the score of another, or takes from it.

    Args:
        desk: what is answered from.
        request: the shopper and the item.
        still: raises when nobody waits any more.

    Raises:
        HushRecError: as `recommend`.
    """
    stock = desk.stock
    shelf = stock.shelf
    user_id, context = _shopper(shelf, request.user_id, request.context_item_ids)
    item = shelf.position(named(request.item_id, "item_id"))
    served = desk.models.answering(stock)
    _check_known(served, item)
    history = desk.history(stock, user_id, context)
    vector = served.vector(history)
    score = float(served.scores(vector)[item])
    basis = desk.basis(_method(vector), served, scored=True)
    if basis.method != pb.SHOPPER:
        score = float(served.shown(vector, np.array([score]))[0])
        return pb.ExplainReply(basis=basis, score=score, base=score)
    terms = served.terms(history, vector, item, still)
    order = np.lexsort((history.items, -terms.amounts))
    rows = [_contribution(shelf, history, terms.amounts, place) for place in order.tolist()]
    reply = pb.ExplainReply(
        basis=basis,
        score=score,
        base=score - terms.total,
        contributions=rows,
        attribution=pb.TERMS if terms.exact else pb.LEFT_OUT,
    )
    return reply if served.units is None else _in_ratings(reply, served.units)


def profile(desk: Desk, request: pb.ProfileRequest) -> pb.ProfileReply:
    """What is known here about a shopper: items and their categories. Needs no model.

    Raises:
        HushRecError: `request-invalid`.
    """
    stock, shelf = desk.stock, desk.stock.shelf
    in_log, recorded = desk.had(stock, named(request.user_id, "user_id"))
    places = np.union1d(in_log, recorded)
    marks = zip(np.isin(places, in_log), np.isin(places, recorded), strict=True)
    items = [
        pb.KnownItem(
            item_id=shelf.item_ids[place],
            title=shelf.titles[place],
            category=shelf.categories[place],
            in_log=bool(logged),
            recorded=bool(noted),
        )
        for place, (logged, noted) in zip(places.tolist(), marks, strict=True)
    ]
    basis = desk.basis(pb.RECORDS)
    return pb.ProfileReply(basis=basis, items=items, categories=_shares(shelf, places))


def _shopper(shelf: Shelf, user_id: str, context: Sequence[str]) -> tuple[str, Ints]:
    """Who a question is about: a name, which may be empty, and positions of a context."""
    check_list(context, MOST_LISTED, "context_item_ids")
    places = shelf.positions([text.strip() for text in context], "context_item_ids")
    return text_of(user_id, LONGEST_ID, "user_id"), places


def _allowed(shelf: Shelf, wanted: pb.Filter) -> Mask:
    check_list(wanted.categories, MOST_LISTED, "filter.categories")
    check_list(wanted.exclude_item_ids, MOST_LISTED, "filter.exclude_item_ids")
    return shelf.mask(wanted.categories, wanted.exclude_item_ids, "filter.categories")


def _check_known(served: Served, item: int) -> None:
    """An item that came after the model has no score that could be explained.

    Raises:
        ArtifactError: `artifact-catalogue`.
    """
    if not served.knows(item):
        raise ArtifactError(
            Code.ARTIFACT_CATALOGUE,
            "the item is in the catalogue, and not yet in the model.",
            where="item_id",
            remedy="Wait until the server delivers a model that has it.",
        )


def _method(vector: Floats) -> pb.Method:
    """By the shopper's own vector, unless it is zero: the model has popularity then."""
    return pb.SHOPPER if vector.any() else pb.POPULARITY


def _items(shelf: Shelf, places: Ints, scores: Floats) -> list[pb.Item]:
    return [
        pb.Item(
            item_id=shelf.item_ids[place],
            score=float(scores[place]),
            title=shelf.titles[place],
            category=shelf.categories[place],
        )
        for place in places.tolist()
    ]


def _contribution(shelf: Shelf, history: Histories, terms: Floats, place: int) -> pb.Contribution:
    item = int(history.items[place])
    return pb.Contribution(
        item_id=shelf.item_ids[item], amount=float(terms[place]), title=shelf.titles[item]
    )


def _in_ratings(reply: pb.ExplainReply, units: RatingUnits) -> pb.ExplainReply:
    """The same in units of ratings: base and amounts still make the score, which has no bounds."""
    reply.score = units.mean + units.scale * reply.score
    reply.base = units.mean + units.scale * reply.base
    for part in reply.contributions:
        part.amount *= units.scale
    return reply


def _shares(shelf: Shelf, places: Ints) -> list[pb.CategoryShare]:
    counts: dict[str, int] = {}
    for place in places.tolist():
        for name in categories_of(shelf.categories[place]):
            counts[name] = counts.get(name, 0) + 1
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return [pb.CategoryShare(category=name, share=counts[name] / len(places)) for name in order]
