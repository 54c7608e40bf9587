"""Which model answers: the one delivered last, or what this shop made of it on its own log."""

from __future__ import annotations

from pathlib import Path

from client.models import ModelStore
from client.service.reloading import Reloading
from client.service.served import Served, Serving
from client.service.stock import Stock
from client.service.tuning import Tuning
from client.store import read_policy
from common.errors import ArtifactError, Code

__all__ = ["Models"]


class Models:
    """The models of a client's folder, followed while they change.

    Guarantee:
        `released` is a function of what the server delivered. `answering` returns anything
        else only where the policy, read anew for every answer, says `serving = "shop"`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        store = ModelStore(folder)

        def load() -> Served | None:
            held = store.current()
            return None if held is None else Served.of(held)

        self._held = Reloading(lambda: store.stamp, load)
        self._placed: dict[Serving, Served] = {}
        self._tuning = Tuning()
        self._is_own = False

    @property
    def held_back(self) -> str:
        """Code of why the newest model, or the shop's own, is not in use; empty if it is."""
        own = self._tuning.held_back if self._is_own else ""
        return self._held.held_back or own

    def released(self, stock: Stock) -> Served:
        """The model that was delivered last; over the first items of a catalogue that has grown.

        Raises:
            ArtifactError: `model-missing`, none was; `artifact-catalogue`, it is for another
                catalogue; `artifact-invalid`, it is damaged and there is none before it.
        """
        served = self._held.get()
        if served is None:
            raise ArtifactError(
                Code.MODEL_MISSING,
                "no model has been delivered to this client yet.",
                remedy="The catalogue can be searched and events recorded meanwhile.",
            )
        if not stock.shelf.begins_with(served.catalogue_version, served.model.n_items):
            raise ArtifactError(
                Code.ARTIFACT_CATALOGUE,
                "the model that was delivered is for another catalogue than the client's.",
                remedy="Use the catalogue that the federation was begun with.",
            )
        return self._on(served, stock)

    def _on(self, served: Served, stock: Stock) -> Served:
        """The model over the catalogue of now, which may be larger; made once for both."""
        count = len(stock.shelf)
        if (served.shelf_items or served.model.n_items) == count:
            return served
        placed = self._placed.get(served.serving)
        if placed is None or placed.model is not served.model or placed.shelf_items != count:
            self._placed[served.serving] = placed = served.on(count)
        return placed

    def answering(self, stock: Stock) -> Served:
        """The model for answers about shoppers, as the policy has it.

        Under `shop` serving the delivered model answers, and says so, until the shop's own
        is trained.

        Raises:
            ArtifactError: as `released`.
            PolicyError: `policy-missing`.
            ConfigError: the policy cannot be meant.
        """
        released = self.released(stock)
        policy = read_policy(self._folder)
        self._is_own = policy.serving == "shop"
        if not self._is_own:
            return released
        tuned = self._tuning.get(released, stock.store, len(policy.roster))
        if tuned is None or tuned.catalogue_version != released.catalogue_version:
            return released
        return self._on(tuned, stock)

    def wait_tuned(self, seconds: float) -> bool:
        """Wait until no shop model is being trained; whether that is so."""
        return self._tuning.wait(seconds)
