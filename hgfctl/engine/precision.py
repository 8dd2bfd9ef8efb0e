"""The arithmetic that networks' products are done in.

GPUs may round the factors of float32 products to 10 bits (TF32). torch has two switches for that, one of products of
matrices and one of convolutions, which are of the whole process; the second is on by default. Here they are set within
a block, and put back after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import nn

from hgfctl.errors import RequestError

Precision = Literal["fp32", "tf32", "bf16"]
"""Arithmetic of training."""
Inference = Literal["fp32", "bf16", "fp64"]
"""Arithmetic of a trained network; a solver's state is float64 in any case (float32 with compensated sums on MPS)."""


def use(precision: Precision) -> None:
    """Sets the process's switches of TF32: for programs, which own their process; in fp32 they are off."""
    _switch(precision != "fp32", precision != "fp32")


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Sets the switches of TF32 within the block: off for fp32, on for the others."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    use(precision)
    try:
        yield
    finally:
        _switch(*before)


def prepared(model: nn.Module, precision: Inference, device: torch.device) -> None:
    """Puts a trained model's weights into the type that the precision asks for; with bf16, `region` rounds them.

    Raises:
        RequestError: fp64 on a device that has none.
    """
    if precision == "fp64":
        if device.type == "mps":
            raise RequestError("`precision=fp64`: MPS has no float64; `device=cpu` has")
        model.double()


@contextmanager
def region(precision: Inference, device: torch.device) -> Iterator[None]:
    """Within the block a trained network runs in this precision; nothing but autocast's bfloat16 rounds its factors."""
    with products("fp32"), _bfloat16(precision, device):
        yield


@contextmanager
def training_region(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within the block a network is trained in this precision.

    With bf16 it runs in bfloat16; losses stay float32, for models return the type of their input.
    """
    with products(precision), _bfloat16(precision, device):
        yield


def _bfloat16(precision: Precision | Inference, device: torch.device) -> torch.autocast | nullcontext[None]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _switch(matrices: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = matrices
    torch.backends.cudnn.allow_tf32 = convolutions
