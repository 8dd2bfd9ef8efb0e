"""The arithmetic that networks' products are done in.

GPUs may round the factors of float32 products to 10 bits (TF32). torch has switches for that, of products of matrices,
of convolutions and of recurrent networks, which are of the whole process; that of convolutions is on by default. Here
they are set within a block, and put back after it. As they are the process's, blocks of several threads at once are not
kept apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import nn

from hgfctl.errors import RequestError

Precision = Literal["fp32", "tf32", "bf16"]
"""Arithmetic of training."""
Inference = Literal["fp32", "bf16", "fp64"]
"""Arithmetic of a trained network; a solver's state is float64 in any case (float32 with compensated sums on MPS)."""


def use(precision: Precision) -> None:
    """Sets the process's switches of TF32: for programs, which own their process; in fp32 they are off."""
    _switch(["ieee" if precision == "fp32" else "tf32"] * len(_SWITCHES))


@contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Sets the switches of TF32 within the block: off for fp32, on for the others."""
    before = _switches()
    use(precision)
    try:
        yield
    finally:
        _switch(before)


def prepared(model: nn.Module, precision: Inference, device: torch.device) -> None:
    """Puts a trained model's weights into the type that the precision asks for; with bf16, `region` rounds them.

    Raises:
        RequestError: an unknown precision, or fp64 on a device that has none.
    """
    if precision not in get_args(Inference):
        raise RequestError(f"unknown `precision={precision}`; known: {', '.join(get_args(Inference))}")
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


_CUDNN: Any = torch.backends.cudnn
_SWITCHES: list[tuple[Any, str]] = (
    [(place, "fp32_precision") for place in (torch.backends.cuda.matmul, _CUDNN.conv, _CUDNN.rnn)]
    if hasattr(torch.backends.cuda.matmul, "fp32_precision")
    else [(torch.backends.cuda.matmul, "allow_tf32"), (_CUDNN, "allow_tf32")]
)
"""Where the switches are, and what they are called: truth values before torch 2.9. To read the older names once the
newer ones were set is an error of torch's."""


def _switches() -> list[Any]:
    return [getattr(place, name) for place, name in _SWITCHES]


def _switch(values: list[Any]) -> None:
    for (place, name), value in zip(_SWITCHES, values, strict=True):
        setattr(place, name, value == "tf32" if name == "allow_tf32" and isinstance(value, str) else value)
