"""Randomness without state: every draw is a function of a seed and of where it is used.

A generator is made from (seed, purpose, position) when it is needed, so there is no generator state to save: training
resumes exactly from its step number, and image i of a sampling job depends on its own seed alone.
"""

import hashlib

from torch import Generator


def generator(*key: int | str, device: str = "cpu") -> Generator:
    """A generator that depends on the key alone, independent (to 63 bits of a hash) of that of any other key."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
    return Generator(device=device).manual_seed(seed)
