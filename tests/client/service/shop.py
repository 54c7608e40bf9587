"""A shop's folder with a log, a catalogue and a model, and its service on a free port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from client.models import ModelStore
from client.service.serving import Listening, Service
from client.service.token import Token
from client.service.v1 import recommender_pb2 as pb
from client.service.v1.recommender_pb2_grpc import RecommenderStub
from common.artifacts import Manifest, save_artifact
from common.catalogue import Catalogue
from common.interactions.table import event_table
from common.models.base import Model
from common.models.mf import FoldIn, MatrixFactorisation
from common.privacy.signing import SigningKey
from common.protocol.models import ModelMessage

ITEMS = 40
USERS = 24
CATEGORIES = ("tea|hot", "coffee|hot", "juice", "")
CLIENT_TOML = f"""
name = "north"
dataset_id = "{"0a" * 16}"
population = {USERS}
catalogue = "catalogue.json"
"""
SERVER = SigningKey.create()


def policy(serving: str = "joint") -> str:
    return f'serving = "{serving}"\n[lifetime]\nepsilon = 8\ndelta = 1e-3\n'


def catalogue(n_items: int = ITEMS) -> Catalogue:
    ids = tuple(f"i{item}" for item in range(n_items))
    titles = tuple(f"Blend {item} of the Café" for item in range(n_items))
    categories = tuple(CATEGORIES[item % len(CATEGORIES)] for item in range(n_items))
    return Catalogue(ids, {"title": titles, "category": categories})


def likes(user: int, n_items: int = ITEMS) -> list[int]:
    """Two tastes: even users have even items, odd ones odd items."""
    rng = np.random.default_rng(user)
    mine = np.arange(user % 2, n_items, 2)
    return sorted(rng.choice(mine, 4, replace=False).tolist())


def write_events(folder: Path, histories: dict[str, list[int]]) -> None:
    rows = [(user, f"i{item}") for user, items in histories.items() for item in items]
    times = [1_760_000_000_000_000 + place for place in range(len(rows))]
    users, items = [user for user, _ in rows], [item for _, item in rows]
    part = folder / "part.parquet"
    event_table(users, items, [1.0] * len(rows), times).to_parquet(part, index=False)
    part.replace(folder / "events.parquet")


def log(n_items: int = ITEMS) -> dict[str, list[int]]:
    return {f"u{user}": likes(user, n_items) for user in range(USERS)}


def make_shop(folder: Path, serving: str = "joint", n_items: int = ITEMS) -> Path:
    folder.mkdir(mode=0o700)
    catalogue(n_items).save(folder / "catalogue.json")
    write_events(folder, log(n_items))
    (folder / "client.toml").write_text(CLIENT_TOML)
    (folder / "policy.toml").write_text(policy(serving))
    return folder


def make_model(seed: int = 0, n_items: int = ITEMS, dim: int = 6) -> MatrixFactorisation:
    """Items of one parity are alike; one item has no vector."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, 0.3, (n_items, dim))
    vectors[:, 0] += np.where(np.arange(n_items) % 2, 1.0, -1.0)
    vectors[-1] = 0.0
    return MatrixFactorisation(
        vectors.astype(np.float32),
        rng.normal(0, 0.01, n_items).astype(np.float32),
        rng.uniform(0.5, 3.0, n_items).astype(np.float32),
        rng.uniform(0.5, 2.0, n_items).astype(np.float32),
        FoldIn(popularity_mix=0.05, frequency_exponent=0.5, regularisation=0.05),
        rng.uniform(0.0, 0.05, n_items).astype(np.float32),
    )


def deliver(folder: Path, serial: int = 1, model: Model | None = None) -> str:
    """What a server's delivery leaves in the folder; the version's name."""
    items = Catalogue.load(folder / "catalogue.json")
    made: Model = make_model(serial, len(items)) if model is None else model
    version = f"{serial:04}-0badcafe"
    manifest = Manifest(
        kind="model",
        name="subspace",
        model=made.kind,
        catalogue_version=items.version,
        job_id="j",
        step=3,
        private=True,
        privacy={},
        settings=made.settings.model_dump(mode="json"),
    )
    complete = save_artifact(folder.parent / f"{folder.name}-{version}", made.arrays(), manifest)
    message = ModelMessage(serial, version, complete, made.arrays()).signed(SERVER)
    ModelStore(folder).take(message)
    return version


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Caller:
    """Calls the service as a shop's own program does."""

    def __init__(self, folder: Path, place: str, token: str | None = None) -> None:
        self.place = place
        self.channel = grpc.insecure_channel(place, options=(("grpc.enable_http_proxy", 0),))
        self._stub = RecommenderStub(self.channel)
        self.shown = Token.of(folder).header if token is None else token

    def __getattr__(self, name: str):
        method = getattr(self._stub, name)
        metadata = (("authorization", self.shown),)

        def call(request, timeout: float = 30.0):
            return method(request, timeout=timeout, metadata=metadata)

        return call

    def recommend(self, user_id: str, top_k: int = 10, **more) -> pb.RecommendReply:
        return self.Recommend(pb.RecommendRequest(user_id=user_id, top_k=top_k, **more))

    def record(self, *events: tuple[str, ...]) -> pb.RecordEventsReply:
        """Event, user and item of each, and a rating where there is a fourth."""
        sent = [
            pb.Event(event_id=e, user_id=u, item_id=i, rating=next(iter(rating), None))
            for e, u, i, *rating in events
        ]
        return self.RecordEvents(pb.RecordEventsRequest(events=sent))


@contextmanager
def serving(folder: Path, **options) -> Iterator[tuple[Service, Caller]]:
    place = f"127.0.0.1:{free_port()}"
    with Service(folder, Listening(place, **options)) as service:
        caller = Caller(folder, place)
        with caller.channel:
            yield service, caller


def refusal(call) -> tuple[grpc.StatusCode, str]:
    """Status and HushRec's code of a call that fails."""
    try:
        call()
    except grpc.RpcError as error:
        trailing = dict(error.trailing_metadata() or ())
        return error.code(), trailing.get("hushrec-code", "")
    raise AssertionError("the call succeeded")


def ids(items) -> list[str]:
    return [item.item_id for item in items]
