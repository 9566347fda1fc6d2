"""Names for the networks that requests come from. No address is ever stored or logged.

A name is a keyed hash whose key changes with the day, so that nobody without the secret key can
go from it to the address, and nobody at all can follow an address from one day to the next by
what was kept.
"""

from __future__ import annotations

import hmac
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAME_CHARS = 24
_ONE_SUBSCRIBER = 64
"""Bits of an IPv6 address that a subscriber cannot choose (RFC 6177)."""


def network_name(address: str, secret_key: str, day: str) -> str:
    """What the network of `address` is called on `day`."""
    key = hmac.digest(secret_key.encode(), f"networks of {day}".encode(), "sha256")
    return hmac.digest(key, _network(address).encode(), "sha256").hex()[:_NAME_CHARS]


def _network(address: str) -> str:
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return address  # what a trusted proxy calls the client is as good a name as any
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(IPv6Network((found.packed, _ONE_SUBSCRIBER), strict=False))
        found = found.ipv4_mapped
    return str(found)
