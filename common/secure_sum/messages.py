"""What is said in the stages of a secure sum: one type each, unknown fields refused.

stage      server to client   client to server   what happens
keys       (nothing)          KeyOffer           new keys for this session, signed by roster key
shares     KeyList            ShareOffer         secrets are dealt to the peers, sealed for each
masked     ShareList          (masked words)     charged, noised, masked
survivors  SurvivorList       Agreement          whose words are in the total, signed, once
reveal     AgreementList      Reveal             one kind of share for each peer

A session is one attempt at one sum. Its `context` is the hash of job, step, session and
inputs, and is in everything that is signed, derived or sealed.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints

from common.config import Settings
from common.privacy.roster import ClientName
from common.privacy.signing import Hex32, Signature

__all__ = [
    "STAGES",
    "Agreement",
    "AgreementList",
    "KeyList",
    "KeyOffer",
    "Reveal",
    "SealedShares",
    "ShareList",
    "ShareOffer",
    "Stage",
    "SurvivorList",
]

Stage: TypeAlias = Literal["keys", "shares", "masked", "survivors", "reveal"]
STAGES: Final[tuple[Stage, ...]] = ("keys", "shares", "masked", "survivors", "reveal")
"""In order."""

_MOST_CLIENTS: Final = 10_000

Curve: TypeAlias = Hex32
"""An X25519 public key in hexadecimal."""
Digest: TypeAlias = Hex32
Share: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{66}$")]
"""One point of a Shamir polynomial, 33 bytes big-endian in hexadecimal."""


class KeyOffer(Settings):
    """A client's keys for one session."""

    name: ClientName
    """Who offers."""
    sharing_key: Curve
    """For sealing shares."""
    masking_key: Curve
    """For masks; its private half is what peers give away for who dropped out."""
    signature: Signature
    """By the roster key of `name`, of context, name and both keys."""


class KeyList(Settings):
    """Every offer of the session, in order of name; the receiver's own is among them."""

    offers: tuple[KeyOffer, ...] = Field(max_length=_MOST_CLIENTS)


class SealedShares(Settings):
    """A share of both secrets of `sender`, sealed for `recipient`."""

    sender: ClientName
    recipient: ClientName
    sealed: str = Field(max_length=512, pattern=r"^[0-9a-f]*$")
    """Nonce and AES-GCM ciphertext, hexadecimal."""


class ShareOffer(Settings):
    """What a client deals to its peers, in order of recipient."""

    name: ClientName
    seed_digest: Digest
    """SHA-256 of the seed of its own mask, so that what is put together can be checked."""
    shares: tuple[SealedShares, ...] = Field(max_length=_MOST_CLIENTS)


class ShareList(Settings):
    """What the peers dealt to one client, in order of sender."""

    shares: tuple[SealedShares, ...] = Field(max_length=_MOST_CLIENTS)


class SurvivorList(Settings):
    """Whose masked words are in the total, in order of name."""

    survivors: tuple[ClientName, ...] = Field(max_length=_MOST_CLIENTS)


class Agreement(Settings):
    """A survivor's signature under the list of survivors."""

    name: ClientName
    signature: Signature
    """By the roster key of `name`, of context and survivors."""


class AgreementList(Settings):
    """Signatures of at least a threshold of survivors, in order of name."""

    agreements: tuple[Agreement, ...] = Field(max_length=_MOST_CLIENTS)


class Reveal(Settings):
    """The receiver's share of one secret of each peer that dealt: never both of one peer."""

    name: ClientName
    seeds: dict[ClientName, Share]
    """Of the seed of every survivor's own mask."""
    keys: dict[ClientName, Share]
    """Of the masking key of everybody else who dealt."""
