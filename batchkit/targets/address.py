"""Which addresses are reached only with leave: whatever is not the public internet."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

__all__ = ["literal_address", "objection_to"]

#: how a network with IPv6 alone spells IPv4 addresses (RFC 6052), and what it keeps for itself (RFC 8215)
_TRANSLATED = IPv6Network("64:ff9b::/96")
_TRANSLATED_AT_HOME = IPv6Network("64:ff9b:1::/48")
_LAST_32_BITS = 0xFFFFFFFF


def objection_to(address: str) -> str:
    """Why an IP address is not connected to unasked; empty for a public one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is no IP address"
    for each in _meant(found):
        kind = _kind(each)
        if kind:
            return f"{address} is {kind} address: pass allow_private=True if it is meant"
    return ""


def literal_address(host: str) -> str | None:
    """The address that `host` spells, also where it is written as one number, in octal or in hex; None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _kind(address: IPv4Address | IPv6Address) -> str:
    """What an address is where it is not public, with its article."""
    kinds = {
        "an unspecified": address.is_unspecified,
        "a loopback": address.is_loopback,
        "a link-local": address.is_link_local,
        "a multicast": address.is_multicast,
        "a private": address.is_private or getattr(address, "is_site_local", False) or address in _TRANSLATED_AT_HOME,
        "a reserved": address.is_reserved or not address.is_global,
    }
    return next((kind for kind, applies in kinds.items() if applies), "")


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, or the IPv4 address it spells, and those it may lead to."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        # Of these addresses themselves not every Python says the same.
        return [address.sixtofour]
    last = IPv4Address(int(address) & _LAST_32_BITS)
    if address in _TRANSLATED:
        return [last]
    led_to = [*(address.teredo or ()), last if int(address) >> 32 == 0 else None]
    return [address, *(each for each in led_to if each is not None)]
