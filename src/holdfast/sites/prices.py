"""What object stores charge, and what a month of requests would come to. Pure: list prices as data, each with when it was read.

It is an estimate: prices differ by region and change, and neither what is sent out to visitors, taxes nor free allowances are in it.
The provider's own page has the last word.

Example:
    >>> monthly(PRICES[0], Usage(writes=1000, lists=1000, reads=10_000, stored=0))
    0.014
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PRICES", "Cost", "Price", "Usage", "costs", "monthly"]

_GB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Price:
    """List prices in USD: ``storage`` a GB and month, the others a thousand requests; ``read`` is the month they are of.

    ``minimum`` is paid in any case, and ``included`` GB with it. ``hosts`` are parts of an endpoint's host.
    """

    provider: str
    hosts: tuple[str, ...]
    storage: float
    write: float
    list: float
    get: float
    read: str
    minimum: float = 0.0
    included: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """A month: requests of each kind, and bytes stored."""

    writes: int
    lists: int
    reads: int
    stored: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a month of it costs at a provider, in USD; ``yours``: one of the site's stores is there."""

    provider: str
    usd: float
    prices_of: str
    yours: bool


#: Standard storage, in the provider's cheapest large region; lists count as writes where the provider says so.
PRICES: Final = (
    Price("Amazon S3", ("amazonaws.com",), 0.023, 0.005, 0.005, 0.0004, "2026-05"),
    Price("Backblaze B2", ("backblazeb2.com",), 0.006, 0.0, 0.004, 0.0004, "2026-05"),
    Price("Cloudflare R2", ("r2.cloudflarestorage.com",), 0.015, 0.0045, 0.0045, 0.00036, "2026-08"),
    Price("Google Cloud Storage", ("storage.googleapis.com",), 0.020, 0.005, 0.005, 0.0004, "2026-09"),
    Price("DigitalOcean Spaces", ("digitaloceanspaces.com",), 0.020, 0.0, 0.0, 0.0, "2024-07", 5.0, 250),
    Price("Wasabi", ("wasabisys.com",), 0.0069, 0.0, 0.0, 0.0, "2024-07", 6.99, 1013),
    Price("Linode Object Storage", ("linodeobjects.com",), 0.020, 0.0, 0.0, 0.0, "2021-04", 5.0, 250),
)


def monthly(price: Price, usage: Usage) -> float:
    """USD for a month, to a tenth of a cent."""
    requests = usage.writes * price.write + usage.lists * price.list + usage.reads * price.get
    beyond = max(0.0, usage.stored / _GB - price.included)
    return round(price.minimum + beyond * price.storage + requests / 1000, 3)


def costs(usage: Usage, endpoints: Iterable[str]) -> tuple[Cost, ...]:
    """A month at every provider that is known: those of the site first."""
    own = tuple(endpoints)
    found = [
        Cost(
            price.provider,
            monthly(price, usage),
            price.read,
            any(part in endpoint for part in price.hosts for endpoint in own),
        )
        for price in PRICES
    ]
    return tuple(sorted(found, key=lambda cost: not cost.yours))
