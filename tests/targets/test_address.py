"""Which addresses are reached only with leave."""

from __future__ import annotations

import pytest

from batchkit.targets.address import literal_address, objection_to


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_are_reached(address: str) -> None:
    assert objection_to(address) == ""


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:7f00:1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::1", "loopback"),
        ("10.0.0.5", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("fd00::1", "private"),
        ("fec0::1", "private"),
        ("::ffff:10.0.0.5", "private"),
        ("64:ff9b:1::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("100.64.0.1", "reserved"),
    ],
)
def test_others_are_named_for_what_they_are(address: str, kind: str) -> None:
    assert f"{address} is a" in objection_to(address)
    assert f" {kind} address: pass allow_private=True" in objection_to(address)


def test_what_is_no_address_is_not_reached() -> None:
    assert objection_to("example.com") == "example.com is no IP address"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("::1", "::1"),
        ("example.com", None),
        ("localhost", None),
    ],
)
def test_every_spelling_of_an_address_is_seen_through(host: str, address: str | None) -> None:
    assert literal_address(host) == address
