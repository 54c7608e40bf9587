"""A federation laid out on one machine, by one person who plays every party.

`python -m simulations.deployment.demo DIR --shops 3`: generates data, enrols a server and the
shops, adds and pins them, and lets their nodes in. It calls what the commands of
docs/guide/deployment.md call, but nobody reads a fingerprint out: whoever runs it has all keys
in one folder. It is for trying things, and for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from client.enroll.begin import Wish, enrol
from client.enroll.bundle_text import with_bundle
from client.enroll.peers import pin_peer
from client.enroll.policy_file import edited, editing
from common.bundle import build_bundle, bundle_sha256
from common.config import Settings
from common.enrolment.cards import Card, Invitation
from common.enrolment.folders import exists
from common.privacy.plan import Mode
from common.terminal import Format, FormatOption, finish, print_json
from server.enroll.begin import begin
from server.enroll.home import NODES
from server.enroll.members import add
from simulations.deployment.layout import Layout, Places, ShopAddresses, free_ports, loopback
from simulations.deployment.market import generate, shop_names
from simulations.deployment.topology import SERVER, Federation
from simulations.prepare import declared_population

__all__ = ["Demo", "lay_out"]


class Demo(Settings):
    """What is laid out."""

    shops: int = Field(default=3, ge=1, le=1000)
    """How many."""
    users: int = Field(default=600, ge=2)
    """Shoppers of each shop."""
    items: int = Field(default=200, ge=2)
    """Items of the catalogue."""
    seed: int = Field(default=0, ge=0)
    """Of the generated data."""
    hosts: tuple[str, ...] = ()
    """Names and addresses of the server beside those on loopback; the first one goes into the
    invitation."""
    port: int = Field(default=0, ge=0, le=65_535)
    """Of the server; 0 takes a free one."""
    inside_port: int = Field(default=0, ge=0, le=65_535)
    """Of Control and Runtime; 0 takes a free one."""
    modes: tuple[Mode, ...] = ("local", "distributed")
    """What the shops allow."""
    epsilon: float = 16.0
    """ε that all releases of a shop may ever cost."""
    delta: float = 1e-4
    """δ at which that holds."""


def lay_out(folder: Path, demo: Demo) -> Layout:
    """Everything of a federation but its processes; nodes are let in, the bundle is listed.

    Args:
        folder: not there yet, or empty.
        demo: what is laid out.

    Raises:
        HushRecError: as the functions of enrolment.
        TimeoutError: the server does not start.
    """
    if folder.exists() and any(folder.iterdir()):
        raise exists("there is something already", folder, "Choose another folder.")
    places = Places(folder)
    layout = _layout(demo)
    places.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.save(places.folder)
    made = generate(
        places.data, shops=demo.shops, users=demo.users, items=demo.items, seed=demo.seed
    )
    hosts = (*demo.hosts, "127.0.0.1", *(shop.host for shop in layout.shops.values()))
    port = int(layout.listen.rpartition(":")[2])
    invitation = begin(places.server, hosts, port, catalogue=made.catalogue)
    cards = [
        _enrolled(places, name, demo, invitation, (path, made.catalogue))
        for name, path in made.events.items()
    ]
    _acquaint(places, cards, pinned="distributed" in demo.modes)
    _list_bundle(places, cards)
    _let_in(places.folder, cards)
    return layout


def _layout(demo: Demo) -> Layout:
    ports = free_ports(["127.0.0.1", "127.0.0.1"])
    port, inside = demo.port or ports[0], demo.inside_port or ports[1]
    shops = {
        name: _addresses(loopback(number)) for number, name in enumerate(shop_names(demo.shops))
    }
    return Layout(listen=f"127.0.0.1:{port}", inside=f"127.0.0.1:{inside}", shops=shops)


def _addresses(host: str) -> ShopAddresses:
    relay, service, monitor = (f"{host}:{port}" for port in free_ports([host] * 3))
    return ShopAddresses(relay=relay, service=service, monitor=monitor)


def _enrolled(
    places: Places, name: str, demo: Demo, invitation: Invitation, files: tuple[Path, Path]
) -> Card:
    wish = Wish(
        name=name,
        population=declared_population(demo.users),
        epsilon=demo.epsilon,
        delta=demo.delta,
        modes=demo.modes,
    )
    return enrol(wish, places.shop(name), invitation, *files).card


def _acquaint(places: Places, cards: Sequence[Card], *, pinned: bool) -> None:
    """The operator has every card; for secure sums each shop has those of all others."""
    for card in cards:
        add(places.server, card)
        for other in cards if pinned else ():
            if other != card:
                pin_peer(places.shop(card.name), other)


def _list_bundle(places: Places, cards: Sequence[Card]) -> None:
    """Every shop takes part in runs of the version that is installed."""
    digest = bundle_sha256(build_bundle())
    for card in cards:
        with editing(places.shop(card.name)):
            edited(places.shop(card.name), lambda text: with_bundle(text, digest))


def _let_in(folder: Path, cards: Sequence[Card]) -> None:
    """Start the server for as long as it takes to tell it the nodes' keys."""
    with Federation(folder) as federation:
        federation.start_server()
        for card in cards:
            key = federation.places.server / NODES / f"{card.name}.pub"
            federation.control.register(card.name, key)
        federation.processes.stop(SERVER)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for the federation, to be made.")],
    shops: Annotated[int, typer.Option(help="Shops.")] = 3,
    users: Annotated[int, typer.Option(help="Shoppers of each.")] = 600,
    items: Annotated[int, typer.Option(help="Items of the catalogue.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the generated data.")] = 0,
    host: Annotated[list[str] | None, typer.Option(help="Name or address of the server.")] = None,
    port: Annotated[int, typer.Option(help="Of the server; 0: a free one.")] = 8443,
    inside_port: Annotated[int, typer.Option(help="Of Control; 0: a free one.")] = 8000,
    epsilon: Annotated[float, typer.Option(help="ε of each shop's lifetime.")] = 16.0,
    delta: Annotated[float, typer.Option(help="δ at which that holds.")] = 1e-4,
    output: FormatOption = Format.TEXT,
) -> None:
    """Lay a federation out on this machine, one person playing every party."""

    def work() -> None:
        given: dict[str, Any] = {"shops": shops, "users": users, "items": items, "seed": seed}
        given |= {"port": port, "inside_port": inside_port, "epsilon": epsilon, "delta": delta}
        layout = lay_out(folder, Demo.load({**given, "hosts": tuple(host or ())}, where="options"))
        places = Places(folder)
        if output is Format.JSON:
            print_json({"folder": str(places.folder), **layout.model_dump()})
            return
        typer.echo(f"{places.server}  server, listens on {layout.listen}")
        for name in layout.shops:
            typer.echo(f"{places.shop(name)}  shop")
        typer.echo("You have played operator and shops: nobody compared a fingerprint.")

    finish(work)


if __name__ == "__main__":
    typer.run(main)
