"""Chance without a stream: the same question always gets the same answer, whatever was asked before."""

from __future__ import annotations

from hashlib import blake2b


def share(*what: object) -> float:
    """A number of 0 or more and below 1 that belongs to what it is asked for."""
    return int.from_bytes(blake2b(repr(what).encode(), digest_size=7).digest(), "big") / 2**56


def digits(what: str, count: int) -> str:
    """So many digits, the first of them not 0."""
    number = int.from_bytes(blake2b(what.encode(), digest_size=16).digest(), "big")
    return str(10 ** (count - 1) + number % (9 * 10 ** (count - 1)))


def hexes(*what: object, count: int = 17) -> str:
    """So many hexadecimal digits: for ids such as ``i-0a1b…``."""
    return blake2b(repr(what).encode(), digest_size=20).hexdigest()[:count]
