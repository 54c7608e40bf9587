"""A model that a server sends: whose it is, whether it was made privately, whether it is safe.

Guarantee:
    What is kept is signed by a server that the owner has listed, was made with a guarantee
    (or the owner has said in words that it need not), is about this client's catalogue, and
    holds finite, bounded numbers of the right shapes alone. No data are looked at.
"""

from __future__ import annotations

from client.store import ClientSettings
from common.arrays import State
from common.artifacts import Manifest
from common.catalogue import Catalogue
from common.errors import ArtifactError, Code, InboundError, PolicyError
from common.models.mf import MatrixFactorisation
from common.privacy.inbound import ArraySpec, check_arrays
from common.privacy.policy import Policy
from common.protocol import ModelMessage

__all__ = ["check_sent_model"]

_EMBEDDINGS = "item_embeddings"
_OPTIONAL = "noise_variance"
_LONGEST = 512
"""Of a shopper's vector, as every solver has it; the service works with its square."""


def check_sent_model(
    policy: Policy, settings: ClientSettings, catalogue: Catalogue, message: ModelMessage
) -> None:
    """Who sends it, and what it is; `ModelStore.take` holds serial and hash to what is here.

    Raises:
        PolicyError: `policy-server`, not signed by a server of the policy.
        ArtifactError: `model-not-private` or `artifact-catalogue`.
        InboundError: `inbound-array`, an array is not safe to use.
    """
    _check_server(policy, message)
    _check_manifest(settings, catalogue, message.manifest)
    check_arrays(message.arrays, _specs(len(catalogue), message.arrays))


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


def _check_manifest(settings: ClientSettings, catalogue: Catalogue, manifest: Manifest) -> None:
    if not manifest.private and not settings.no_privacy:
        raise ArtifactError(
            Code.MODEL_NOT_PRIVATE,
            "the model was made without a guarantee.",
            where="model.manifest",
            remedy="It is taken only if client.toml says `no_privacy`.",
        )
    if manifest.catalogue_version != catalogue.version:
        raise ArtifactError(
            Code.ARTIFACT_CATALOGUE,
            f"made for catalogue {manifest.catalogue_version[:12]}, this client has "
            f"{catalogue.version[:12]}.",
            where="model.manifest",
            remedy="Bring both sides to one catalogue.",
        )


def _specs(n_items: int, arrays: State) -> dict[str, ArraySpec]:
    """What the arrays must be; how long a shopper's vector is, the model itself says."""
    shape = arrays[_EMBEDDINGS].shape if _EMBEDDINGS in arrays else ()
    if len(shape) != 2 or not 1 <= shape[1] <= _LONGEST:
        raise InboundError(
            Code.INBOUND_ARRAY,
            f"of shape {shape}, no vectors of items of length 1 to {_LONGEST}.",
            where=f"inbound array {_EMBEDDINGS!r}",
            remedy="The server is broken or hostile: nothing was kept.",
        )
    specs = MatrixFactorisation.specs(n_items, shape[1])
    if _OPTIONAL in arrays:
        specs[_OPTIONAL] = ArraySpec((n_items,))
    return specs
