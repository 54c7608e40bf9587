"""A model that a server sends: whose it is, whether it was made privately, whether it is safe.

Guarantee:
    What is kept is signed by a server that the owner has listed, was made with a guarantee
    (or the owner has said in words that it need not), is about this client's catalogue or what
    that was before it grew, and holds finite, bounded numbers of the right shapes alone. No data
    are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from client.store import ClientSettings
from common.artifacts import Manifest
from common.catalogue import Catalogue
from common.errors import ArtifactError, Code, InboundError, PolicyError
from common.models.registry import model_specs
from common.models.shared_arrays import POPULARITY_ARRAY
from common.privacy.inbound import ArraySpec, check_arrays
from common.privacy.policy import Policy
from common.protocol import ModelMessage

__all__ = ["check_sent_model"]

_WHERE: Final = "model.manifest"
_MOST_ARRAYS: Final = 256
_WIDEST: Final = 4096
"""Values of one item in one array."""
_LARGEST: Final = 1 << 25
"""Values of an array that is not about items, 128 MiB."""


def check_sent_model(
    policy: Policy, settings: ClientSettings, catalogue: Catalogue, message: ModelMessage
) -> None:
    """Who sends it, and what it is; `ModelStore.take` holds serial and hash to what is here.

    Raises:
        PolicyError: `policy-server`, not signed by a server of the policy.
        ArtifactError: `model-not-private`, `artifact-catalogue`, `model-kind`, or
            `artifact-invalid` for settings that its kind cannot have.
        InboundError: `inbound-array`, an array is not safe to use.
    """
    _check_server(policy, message)
    _check_private(settings, message.manifest)
    check_arrays(message.arrays, _specs(message, _items(catalogue, message)))


def _check_server(policy: Policy, message: ModelMessage) -> None:
    """Of a model, unlike of a job, nobody's word is taken: an empty list names no server."""
    if message.server not in policy.servers:
        allowed = ", ".join(f"{key[:8]}…" for key in policy.servers) or "no server at all"
        raise PolicyError(
            Code.POLICY_SERVER,
            f"a model of server {message.server[:8]}…, the owner lists {allowed} (`servers`).",
            remedy="Only the owner can change that.",
        )
    message.check_signature()


def _check_private(settings: ClientSettings, manifest: Manifest) -> None:
    if not manifest.private and not settings.no_privacy:
        raise ArtifactError(
            Code.MODEL_NOT_PRIVATE,
            "the model was made without a guarantee.",
            where=_WHERE,
            remedy="It is taken only if client.toml says `no_privacy`.",
        )


def _items(catalogue: Catalogue, message: ModelMessage) -> int:
    """How many items the model is about: all of the catalogue, or the first ones.

    Of the arrays, which nobody has checked yet, one length is read, and held to the hash.
    """
    version, counts = message.manifest.catalogue_version, message.arrays.get(POPULARITY_ARRAY)
    if version == catalogue.version:
        return len(catalogue)
    count = 0 if counts is None or counts.ndim != 1 else len(counts)
    if not catalogue.begins_with(version, count):
        raise ArtifactError(
            Code.ARTIFACT_CATALOGUE,
            f"made for catalogue {version[:12]}, this client has {catalogue.version[:12]}.",
            where=_WHERE,
            remedy="Bring both sides to one catalogue: `hushrec client catalogue` takes a larger "
            "one.",
        )
    return count


def _specs(message: ModelMessage, n_items: int) -> Mapping[str, ArraySpec]:
    """What the arrays must be, by the kind of the model, and none of them too large to serve."""
    about = message.manifest
    specs = model_specs(about.model, about.settings, n_items, message.arrays, where=_WHERE)
    if len(specs) > _MOST_ARRAYS:
        raise _too_large(f"{len(specs)} arrays, at most {_MOST_ARRAYS} are taken.", "model.arrays")
    for name, spec in specs.items():
        of_items = spec.shape[:1] == (n_items,)
        values = math.prod(spec.shape[1:] if of_items else spec.shape)
        if values > (_WIDEST if of_items else _LARGEST):
            raise _too_large(f"of shape {spec.shape}, more than is taken.", name)
    return specs


def _too_large(message: str, name: str) -> InboundError:
    return InboundError(
        Code.INBOUND_ARRAY,
        message,
        where=f"inbound array {name!r}",
        remedy="The server is broken or hostile: nothing was kept.",
    )
