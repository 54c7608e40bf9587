"""The client's half of a secure sum (Bonawitz et al. 2017, figure 4, against active adversaries).

Pure: no disk and no network. Each stage makes a message and a state; who calls keeps the state
on disk before the message leaves, and answers a stage once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from common.errors import Code
from common.privacy.roster import Roster, Terms
from common.privacy.signing import SigningKey
from common.secure_sum import shamir
from common.secure_sum.dealing import (
    SharePair,
    open_shares,
    own_mask_key,
    pair_mask_key,
    seal_shares,
)
from common.secure_sum.keys import PairKey, fresh_seed
from common.secure_sum.messages import (
    Agreement,
    AgreementList,
    KeyList,
    KeyOffer,
    Reveal,
    ShareList,
    ShareOffer,
    SurvivorList,
)
from common.secure_sum.refusals import refusal, require_enough
from common.secure_sum.statements import (
    check_agreements,
    check_offers,
    signed_agreement,
    signed_offer,
)
from common.secure_sum.states import Agreed, Dealt, Masking, Offered

__all__ = ["Party"]


@dataclass(frozen=True)
class Party:
    """One client in one session.

    Attributes:
        name: how it is called on the roster.
        key: its roster key.
        roster: pinned by its policy.
        terms: threshold and colluders, held to its policy before.
        context: of the session, in everything that is signed, derived or sealed.

    Guarantee:
        Against a server that says anything, together with up to `terms.colluders` clients:
        unless this client answers a stage twice, nobody learns more of its words than one sum
        with those of at least `terms.threshold` - `terms.colluders` - 1 other honest clients,
        all of whom signed the list of whom the sum is made (Bonawitz et al. 2017, section 6.2).
        It never gives shares of both secrets of one peer.
    """

    name: str
    key: SigningKey
    roster: Roster
    terms: Terms
    context: str

    def __post_init__(self) -> None:
        """Hold the terms to the roster.

        Raises:
            PolicyError: `policy-threshold`, the terms are not safe.
            SumError: `sum-peers`, they are of another roster, or this client is not on it.
        """
        self.terms.check()
        if self.terms.clients != len(self.roster.keys):
            message = f"the terms are of {self.terms.clients} clients, the roster of others."
            raise refusal(Code.SUM_PEERS, message, where="roster")
        if self.roster.keys.get(self.name) != self.key.public:
            message = f"{self.name} is not on the roster with its own key."
            raise refusal(Code.SUM_PEERS, message, where="roster")

    def offer(self) -> tuple[KeyOffer, Offered]:
        """Stage `keys`: two new keys, signed."""
        sharing, masking = PairKey.create(), PairKey.create()
        offer = signed_offer(self.key, self.context, self.name, sharing.public, masking.public)
        return offer, Offered(
            context=self.context,
            offer=offer,
            sharing=sharing.private.hex(),
            masking=masking.private.hex(),
        )

    def deal(self, offered: Offered, peers: KeyList) -> tuple[ShareOffer, Dealt]:
        """Stage `shares`: a new seed, and shares of seed and masking key sealed for each peer.

        Raises:
            SumError: `sum-threshold`, or `sum-peers`: the keys are not those of clients on the
                roster for this session, or the own ones came back changed or not at all.
        """
        self._check_context(offered)
        self._check_peers(offered, peers)
        seed, sharing = fresh_seed(), PairKey.of(bytes.fromhex(offered.sharing))
        seed_shares = self._shares_of(seed, peers)
        key_shares = self._shares_of(bytes.fromhex(offered.masking), peers)
        pairs = list(zip(seed_shares, key_shares, strict=True))
        dealt = zip(peers.offers, pairs, strict=True)
        sealed = list(seal_shares(sharing, self.context, self.name, dealt))
        own = pairs[[peer.name for peer in peers.offers].index(self.name)]
        return ShareOffer(
            name=self.name,
            seed_digest=hashlib.sha256(seed).hexdigest(),
            shares=tuple(shares for shares, _ in sealed),
        ), Dealt(
            context=self.context,
            peers=peers,
            seed=seed.hex(),
            seed_share=own[0],
            key_share=own[1],
            opening={shares.recipient: key.hex() for shares, key in sealed},
        )

    def open(self, offered: Offered, dealt: Dealt, shares: ShareList) -> Masking:
        """Stage `masked`: open what peers dealt, agree on masks with those who did.

        Raises:
            SumError: `sum-threshold`; `sum-peers`, a sender is not among the peers or there
                twice; `sum-share`, a share is for somebody else or cannot be opened.
        """
        self._check_context(offered, dealt)
        self._check_senders(dealt, shares)
        opened = self._opened(dealt, shares)
        keys = list(self._mask_keys(offered, dealt, opened))
        return Masking(
            context=self.context,
            seeds={name: seed for name, (seed, _) in opened.items()},
            keys={name: key for name, (_, key) in opened.items()},
            adds=tuple(key for adds, key in keys if adds),
            subtracts=tuple(key for adds, key in keys if not adds),
        )

    def agree(self, masking: Masking, survivors: SurvivorList) -> tuple[Agreement, Agreed]:
        """Stage `survivors`: sign whose words are in the total.

        Raises:
            SumError: `sum-threshold`, or `sum-survivors`: the list is not in order, names who
                did not deal, or leaves this client out.
        """
        self._check_context(masking)
        names = survivors.survivors
        if list(names) != sorted(set(names)):
            raise _bad_list("the list names a client twice, or is not in order.")
        if not set(names) <= set(masking.dealers):
            raise _bad_list("the list names somebody who dealt no shares.")
        if self.name not in names:
            raise _bad_list(f"{self.name} is not on it: its words would be taken out of hiding.")
        require_enough(len(names), self.terms, where="survivors")
        agreement = signed_agreement(self.key, self.context, self.name, names)
        return agreement, Agreed(context=self.context, survivors=names)

    def reveal(self, masking: Masking, agreed: Agreed, agreements: AgreementList) -> Reveal:
        """Stage `reveal`: seeds of survivors, masking keys of the others who dealt.

        Raises:
            SumError: `sum-survivors`, a signature is not a survivor's under the list that this
                client signed; `sum-threshold`, there are too few.
        """
        self._check_context(masking, agreed)
        check_agreements(agreements.agreements, self.roster, self.context, agreed.survivors)
        require_enough(len(agreements.agreements), self.terms, where="reveal")
        survivors = set(agreed.survivors)
        return Reveal(
            name=self.name,
            seeds={name: share for name, share in masking.seeds.items() if name in survivors},
            keys={name: share for name, share in masking.keys.items() if name not in survivors},
        )

    def _check_context(self, *states: Offered | Dealt | Masking | Agreed) -> None:
        if any(state.context != self.context for state in states):
            raise refusal(Code.SUM_STAGE, "what is kept is of another session.", where="state")

    def _check_peers(self, offered: Offered, peers: KeyList) -> None:
        require_enough(len(peers.offers), self.terms, where="keys")
        if [offer for offer in peers.offers if offer.name == self.name] != [offered.offer]:
            message = f"the own keys of {self.name} came back changed or not at all."
            raise refusal(Code.SUM_PEERS, message, where="keys")
        check_offers(peers.offers, self.roster, self.context)

    def _check_senders(self, dealt: Dealt, shares: ShareList) -> None:
        senders = [sealed.sender for sealed in shares.shares]
        others = {offer.name for offer in dealt.peers.offers} - {self.name}
        if len(set(senders)) < len(senders) or not set(senders) <= others:
            message = "shares come twice from one client, or from one that offered no keys."
            raise refusal(Code.SUM_PEERS, message, where="shares")
        require_enough(len(senders) + 1, self.terms, where="shares")

    def _shares_of(self, secret: bytes, peers: KeyList) -> list[str]:
        """One share for each peer; places are positions on the list, from 1."""
        places = range(1, len(peers.offers) + 1)
        return [shamir.to_hex(share) for share in shamir.deal(secret, self.terms.threshold, places)]

    def _opened(self, dealt: Dealt, shares: ShareList) -> dict[str, SharePair]:
        """What everybody dealt to this client, itself among them, in order of name."""
        opened = dict(open_shares(dealt.opening, self.context, self.name, shares.shares))
        opened[self.name] = (dealt.seed_share, dealt.key_share)
        return dict(sorted(opened.items()))

    def _mask_keys(
        self, offered: Offered, dealt: Dealt, dealers: Collection[str]
    ) -> Iterator[tuple[bool, str]]:
        """Whether to add a mask, and its key: the own one, then one with everybody else."""
        yield True, own_mask_key(bytes.fromhex(dealt.seed), self.context, self.name).hex()
        masking = PairKey.of(bytes.fromhex(offered.masking))
        for peer in dealt.peers.offers:
            if peer.name in dealers and peer.name != self.name:
                adds, key = pair_mask_key(
                    masking, self.context, self.name, peer.name, peer.masking_key
                )
                yield adds, key.hex()


def _bad_list(message: str) -> Exception:
    return refusal(Code.SUM_SURVIVORS, message, where="survivors")
