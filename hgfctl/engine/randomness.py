"""Randomness without state: every draw is a function of a seed and of where it is used.

A generator is made from (seed, purpose, position) when it is needed, so there is no generator state to save: training
resumes exactly from its step number, and image i of a sampling job depends on its own seed alone.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Starts torch's own generators from a seed within the block, and puts them back as they were after it.

    Initial weights and dropout draw from these: the CPU's and the device's.

    Args:
        seed: as of `torch.manual_seed`.
        device: whose generator is seeded besides the CPU's.
    """
    before = torch.get_rng_state(), _state_on(device)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[_index(device)].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        if device.type == "cuda" and before[1] is not None:
            torch.cuda.set_rng_state(before[1], device)
        elif device.type == "mps" and before[1] is not None:
            torch.mps.set_rng_state(before[1])


def _state_on(device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
