"""Names of networks: the same for one subscriber on one day, and no way back to the address."""

from __future__ import annotations

import pytest

from arena.networks import network_name

KEY = "k" * 32
DAY = "2026-11-22"


def name(address: str, key: str = KEY, day: str = DAY) -> str:
    return network_name(address, key, day)


def test_a_name_does_not_hold_the_address() -> None:
    assert "203.0.113.7" not in name("203.0.113.7")
    assert len(name("203.0.113.7")) == 24


def test_two_addresses_have_two_names() -> None:
    assert name("203.0.113.7") == name("203.0.113.7")
    assert name("203.0.113.7") != name("203.0.113.8")


@pytest.mark.parametrize("other", ["2001:db8:1:2::1", "2001:db8:1:2:ffff::", "2001:DB8:1:2:0::9"])
def test_one_subscribers_ipv6_addresses_have_one_name(other: str) -> None:
    assert name("2001:db8:1:2:3:4:5:6") == name(other)
    assert name("2001:db8:1:3::1") != name(other)


def test_an_ipv4_address_written_as_ipv6_has_the_name_of_the_ipv4_address() -> None:
    assert name("::ffff:203.0.113.7") == name("203.0.113.7")
    assert name("::ffff:203.0.113.7") != name("::ffff:203.0.113.8")


def test_the_name_changes_with_the_day_and_with_the_key() -> None:
    assert name("203.0.113.7") != name("203.0.113.7", day="2026-11-23")
    assert name("203.0.113.7") != name("203.0.113.7", key="l" * 32)


@pytest.mark.parametrize("text", ["", "unknown", "203.0.113.7:4711", "x" * 9_000, "é"])
def test_what_is_no_address_has_a_name_too(text: str) -> None:
    assert len(name(text)) == 24
