"""Which masks a server can take off each client's words with everything that it was told.

The own mask of every survivor, because its seed is revealed, and the masks that it shared with
clients that dropped out, because their keys are. The masks between survivors stay on.
"""

from __future__ import annotations

from collections.abc import Mapping

from common.errors import ArtifactError, Code, SumError
from common.secure_sum.unmasking import MaskKeys, Unmasking
from server.seen import Transcript
from server.sessions import SUMMED

__all__ = ["known_masks"]


def known_masks(transcript: Transcript) -> Mapping[str, MaskKeys]:
    """What is known of each survivor's masks; nothing before stage `reveal`.

    The masks are found as the server finds them, from the same reveals. Where one of the secrets
    does not come out, the server has no total, and here nothing is taken off.

    Raises:
        ArtifactError: `artifact-invalid`, there was a total, and what was recorded makes none.
    """
    ended = transcript.ended
    reveals, names = transcript.reveals, frozenset(ended.survivors)
    nothing = {name: MaskKeys() for name in ended.survivors}
    if len(reveals) < transcript.threshold:
        return nothing
    offers = {offer.name: offer for offer in transcript.offers}
    deals = {deal.name: deal for deal in transcript.deals}
    unmasking = Unmasking(transcript.context, offers, deals, names)
    try:
        return unmasking.open(reveals, transcript.threshold).masks
    except SumError as error:
        if ended.outcome != SUMMED:
            return nothing
        raise _damaged(transcript, error.message) from None
    except (KeyError, ValueError):
        raise _damaged(transcript, "offers, deals and reveals are not of one session.") from None


def _damaged(transcript: Transcript, what: str) -> ArtifactError:
    return ArtifactError(
        Code.ARTIFACT_INVALID,
        what,
        where=f"step {transcript.ended.step}, session {transcript.ended.session}",
        remedy="The recording was changed: remove this folder, or record another run.",
    )
