"""What a synthetic marketplace is made of."""

from __future__ import annotations

from datetime import date
from typing import Final, Self

from pydantic import Field, model_validator

from common.config import Settings

__all__ = ["DEMO_SHOP_SIZES", "MarketplaceSettings", "demo_settings"]

DEMO_SHOP_SIZES: Final = (2_000,) * 2 + (60,) * 30
"""Two big shops and thirty small ones: where joining pays in `local` mode."""


class MarketplaceSettings(Settings):
    """A marketplace; the same settings give the same bytes."""

    users: int = Field(default=6_000, ge=1, le=5_000_000)
    """Real shoppers, fake accounts not counted."""
    items: int = Field(default=1_000, ge=2, le=200_000)
    """Size of the catalogue."""
    categories: int = Field(default=20, ge=1)
    """Categories, of random sizes; at most one for two items."""
    shops: int = Field(default=8, ge=1)
    """Shops of nearly equal size; not used when `shop_sizes` is given."""
    shop_sizes: tuple[int, ...] = ()
    """Users of each shop; adds up to `users`."""
    regions: int = Field(default=4, ge=1)
    """Regions with tastes and bestsellers of their own; shop s lies in region s mod regions."""
    events_per_user: float = Field(default=25.0, gt=0)
    """Mean number of draws of a user; a repeat of an item is dropped, about a third are."""
    min_events: int = Field(default=4, ge=1)
    """Fewest draws of a user."""
    zipf_exponent: float = Field(default=0.8, ge=0)
    """The appeal of the item of rank r is r^-zipf_exponent, before anybody's taste."""
    taste_dims: int = Field(default=12, ge=1)
    """Dimensions of the latent tastes."""
    taste_strength: float = Field(default=8.0, ge=0)
    """Norm of a user's taste: log-odds between an item of perfect fit and a neutral one."""
    region_shift: float = Field(default=0.3, ge=0)
    """Common part of a region's tastes, and spread of its items' log appeal."""
    seasons: int = Field(default=4, ge=0)
    """Times of the year at which categories peak, evenly spaced; 0 for no seasons."""
    season_strength: float = Field(default=0.8, ge=0)
    """Log-odds of a category at its peak against its yearly mean."""
    session_length: float = Field(default=4.0, ge=1)
    """Mean draws of a session."""
    stay_in_category: float = Field(default=0.5, ge=0, le=1)
    """Probability that an event stays in the category of the event before it in the session."""
    start: date = date(2025, 1, 1)
    """First day."""
    days: int = Field(default=365, ge=7)
    """Days that the events span."""
    fake_accounts: int = Field(default=0, ge=0)
    """Accounts of a push attack, added after the real users and marked in a column `fake`."""
    fake_targets: int = Field(default=1, ge=1)
    """Unpopular items that the fake accounts push."""
    seed: int = Field(default=0, ge=0)
    """Decides everything that the other settings leave open."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.shop_sizes and sum(self.shop_sizes) != self.users:
            raise ValueError(f"shop_sizes add up to {sum(self.shop_sizes)}, not to users")
        if any(size < 1 for size in self.shop_sizes):
            raise ValueError("every shop needs a user")
        if not self.shop_sizes and self.shops > self.users:
            raise ValueError(f"{self.shops} shops for {self.users} users")
        if 2 * self.categories > self.items:
            raise ValueError(f"{self.categories} categories for {self.items} items")
        if self.fake_targets > self.items:
            raise ValueError(f"{self.fake_targets} fake_targets for {self.items} items")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Users of each shop."""
        if self.shop_sizes:
            return self.shop_sizes
        share, more = divmod(self.users, self.shops)
        return tuple(share + (shop < more) for shop in range(self.shops))


def demo_settings(seed: int = 0) -> MarketplaceSettings:
    """The marketplace of the demo: two shops of 2,000 users and thirty of 60.

    Taste and activity are chosen for the demo: five settings of `taste_strength`,
    `events_per_user`, `taste_dims` and `zipf_exponent` were tried at seed 101, and one was
    kept where a small shop is clearly worse alone than a federation under `local` noise. It
    is an example where joining pays small shops, not evidence that it pays in general: with
    tastes half as strong a prototype's gain was less than half, and with three times the
    noise it was gone. The report of a run says who gains.
    """
    return MarketplaceSettings(
        users=sum(DEMO_SHOP_SIZES), shop_sizes=DEMO_SHOP_SIZES, items=1_000, seed=seed
    )
