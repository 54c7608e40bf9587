"""The Flower ClientApp: message in, guard, solver, release, message out.

Its outermost layer turns every exception, whatever raised it, into a code: Flower would
answer an uncaught exception with its text, and text can quote a customer. Therefore it
loads nothing but what a code is made of; everything else is imported inside it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.home import Home, check_home, resolve_home
from client.release import (
    answer,
    answer_code,
    answer_hello,
    answer_model,
    answer_receipt,
    answer_sum,
)
from client.unready import unready
from common.errors import Code, ConfigError, HushRecError
from common.public_codes import told

if TYPE_CHECKING:
    from client.guard import Clock
    from client.store import ClientPlace, ClientStore

__all__ = ["CodesOnly", "app", "make_app"]

_LOG = logging.getLogger("hushrec.client")


class CodesOnly(ClientApp):
    """A ClientApp that no exception leaves; what went wrong is logged here, on the client.

    KeyboardInterrupt and SystemExit pass: they mean that this process shall stop, and then
    it answers nothing at all.
    """

    def __call__(self, message: Message, context: Context) -> Message:
        """Handle one message."""
        try:
            return super().__call__(message, context)
        except (KeyboardInterrupt, SystemExit):
            raise
        except HushRecError as error:
            _LOG.warning("refused %s", error)
            return answer_code(message, told(error))
        except BaseException:  # noqa: BLE001 — a panic of a Rust library is not an Exception
            _LOG.exception("refused, after an unexpected error")
            return answer_code(message, Code.INTERNAL)


def make_app(
    run: Path | None = None,
    *,
    simulation: bool = False,
    clock: Clock | None = None,
) -> ClientApp:
    """A ClientApp.

    Args:
        run: folder of a prepared simulation whose clients the nodes are, by partition id;
            None takes each node's own folder from its node configuration, or the prepared
            run from the environment variable `HUSHREC_RUN` of this process.
        simulation: the nodes are simulated even though they name their folders. The
            installed `app` never says so, whatever a server sends.
        clock: what time it is, in UTC; None is the machine's.
    """
    client_app = CodesOnly()

    @client_app.train("step")
    def step(message: Message, context: Context) -> Message:
        return _step(message, resolve_home(context, run, simulation=simulation), clock)

    @client_app.train("sum")
    def secure_sum(message: Message, context: Context) -> Message:
        return _sum(message, resolve_home(context, run, simulation=simulation), clock)

    @client_app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        return _hello(message, resolve_home(context, run, simulation=simulation), clock)

    @client_app.query("receipt")
    def receipt(message: Message, context: Context) -> Message:
        return _receipt(message, resolve_home(context, run, simulation=simulation), clock)

    @client_app.query("model")
    def model(message: Message, context: Context) -> Message:
        return _model(message, resolve_home(context, run, simulation=simulation), clock)

    return client_app


def _step(message: Message, home: Home, clock: Clock | None) -> Message:
    from client.guard import Guard
    from client.training import prepared_step

    store = _open(home, clock)
    with Guard.open(store, clock) as guard:
        task = guard.read(message.content)
        store = guard.data_of(task.job)
        reply = guard.answer(task, lambda schedule: prepared_step(task, schedule, store))
    return answer(message, reply)


def _sum(message: Message, home: Home, clock: Clock | None) -> Message:
    from client.guard import SumGuard
    from client.training import prepared_words

    store = _open(home, clock)
    with SumGuard.open(store, clock) as guard:
        call = guard.read_call(message.content)
        store = guard.data_of(call.job)
        reply = guard.answer_call(call, lambda schedule: prepared_words(call.task, schedule, store))
    return answer_sum(message, call.stage, reply)


def _hello(message: Message, home: Home, clock: Clock | None) -> Message:
    from client.guard import Guard

    store = _open(home, clock)
    with Guard.open(store, clock) as guard:
        guard.look(message.content)
        key = guard.ledger_key
    return answer_hello(message, store.settings, store.catalogue.version, key)


def _receipt(message: Message, home: Home, clock: Clock | None) -> Message:
    from client.guard import Entrance

    with Entrance.open(_place(home), clock) as entrance:
        entrance.take_receipt(message.content)
    return answer_receipt(message)


def _model(message: Message, home: Home, clock: Clock | None) -> Message:
    from client.guard import Entrance

    with Entrance.open(_place(home), clock) as entrance:
        entrance.take_model(message.content)
    return answer_model(message)


def _place(home: Home) -> ClientPlace:
    """The folder as far as it is about nobody: for messages that no data are needed for."""
    from client.store import ClientPlace

    try:
        place = ClientPlace.open(home.folder)
    except ConfigError:
        raise
    except Exception as error:
        raise unready(error, home.folder) from error
    check_home(home, place.settings)
    return place


def _open(home: Home, clock: Clock | None) -> ClientStore:
    from client.store import ClientStore

    try:
        store = ClientStore.open(home.folder)
    except ConfigError:  # client.toml says nothing about anybody
        raise
    except Exception as error:
        raise unready(error, home.folder) from error
    check_home(home, store.settings)
    return _kept(home, datetime.now(UTC) if clock is None else clock())


def _kept(home: Home, now: datetime) -> ClientStore:
    """The data less what is too old; whatever goes wrong with that, data are the reason."""
    from client.keeping import current_store

    try:
        return current_store(home.folder, now)
    except Exception as error:
        raise unready(error, home.folder) from error


app = make_app()
