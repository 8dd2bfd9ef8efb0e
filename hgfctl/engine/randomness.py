"""Randomness without state: every draw is a function of a seed and of where it is used.

A generator is made from (seed, purpose, position) when it is needed, so there is no generator state to save: training
resumes exactly from its step number, and image i of a sampling job depends on its own seed alone.
"""

import hashlib

import torch
from torch import Generator, Tensor


def generator(*key: int | str, device: str = "cpu") -> Generator:
    """A generator that depends on the key alone, independent (to 63 bits of a hash) of that of any other key."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
    return Generator(device=device).manual_seed(seed)


def normal(shape: tuple[int, ...], rng: Generator, device: torch.device) -> Tensor:
    """Standard normal draws, float32, made where they are used: a CPU cannot keep up with a GPU.

    On CUDA a generator is seeded from `rng`, which is one of the CPU; the draws of two kinds of device differ.
    """
    if device.type != "cuda":
        return torch.randn(shape, generator=rng, dtype=torch.float32).to(device)
    seed = int(torch.randint(2**62, (), generator=rng))
    return torch.randn(shape, generator=Generator(device=device).manual_seed(seed), device=device)
