"""The processes of one training, one for each device, as torchrun starts them; alone where it does not."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from hgfctl.errors import HgfctlError, RequestError
from hgfctl.processes import launched

Result = TypeVar("Result")

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others: the first one draws and saves meanwhile."""


@dataclass(frozen=True)
class Ranks:
    """This process among its peers.

    Args:
        rank: of this process, 0 ... world - 1.
        world: how many there are.
        device: what this process works on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True for the one that writes and prints."""
        return self.rank == 0

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over all ranks of a number () on this rank's device."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether some rank has raised it; a meeting point of all ranks."""
        if self.world == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def gathered(self, part: torch.Tensor) -> torch.Tensor:
        """Tensors of one shape (N, ...) of all ranks, one after the other: (world * N, ...)."""
        if self.world == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.world)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def share(self, items: torch.Tensor) -> torch.Tensor:
        """This rank's part of items (N,); padded with the first one, for ranks give parts of one shape.

        `gathered(results)[:N]` puts the results together again.
        """
        size = -(-len(items) // self.world)
        own = items[self.rank * size : (self.rank + 1) * size]
        return torch.cat([own, items[:1].expand(size - len(own))])

    def meet(self) -> None:
        """Waits until all ranks are here."""
        if self.world > 1:
            dist.barrier()

    def one_first(self, work: Callable[[], Result]) -> Result:
        """Does the work on each rank, on the first one before the others: where that fetches what all of them need.

        Raises:
            HgfctlError: whatever work raises; on the others without a message, for the first one says it.
        """
        if not self.first and self.broadcast("") != "done":
            raise SystemExit(1)
        try:
            result = work()
        except Exception:
            if self.first:
                self.broadcast("failed")
            raise
        if self.first:
            self.broadcast("done")
        return result

    def broadcast(self, text: str) -> str:
        """The first rank's text, on all of them."""
        if self.world == 1:
            return text
        encoded = text.encode() if self.first else b""
        size = torch.tensor(len(encoded), device=self.device)
        dist.broadcast(size, 0)
        letters = torch.tensor(list(encoded) or [0] * int(size), dtype=torch.uint8, device=self.device)
        dist.broadcast(letters, 0)
        return bytes(letters.tolist()).decode()


def device_named(name: str | torch.device) -> torch.device:
    """The device of this name; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises:
        RequestError: unknown, or not there.
    """
    name = str(name)
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    kind, _, index = name.partition(":")
    if kind not in present or (index and not index.isdigit()):
        raise RequestError(f"unknown device '{name}'; known: auto, {', '.join(present)}, cuda:0, cuda:1, ...")
    if not present[kind] or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        raise RequestError(f"device '{name}' is not available on this machine; `device=cpu` is")
    return torch.device(name)


def alone(device: torch.device) -> Ranks:
    """One process, as without torchrun."""
    return Ranks(0, 1, device)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Meets the other ranks, if there are any, within the block.

    Args:
        device: the kind of device; of several GPUs a rank takes the one of its local number.

    Raises:
        HgfctlError: fewer GPUs than ranks, or the others are gone.
        RequestError: a device that ranks cannot share work on.
    """
    if not launched():
        yield alone(device)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise HgfctlError(f"{local + 1} processes on a machine with {torch.cuda.device_count()} GPUs; use fewer")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise RequestError(f"several processes work on CUDA or the CPU, not on {device.type}")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), device)
    try:
        yield ranks
    except RuntimeError as error:
        if not any(word in str(error) for word in ("gloo", "NCCL", "Connection closed", "Connection reset")):
            raise
        raise HgfctlError(f"rank {ranks.rank} of {ranks.world} has lost the others") from error
    finally:
        dist.destroy_process_group()
