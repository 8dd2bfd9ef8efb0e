"""Which arithmetic the network's products are done in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from hgfctl.errors import RequestError

Precision = Literal["fp32", "tf32", "bf16"]
Inference = Literal["fp32", "bf16", "fp64"]
"""Of a trained network. A solver's state is float64 whatever it is (float32 with compensated sums on MPS)."""


def use(precision: Precision) -> None:
    """Lets GPUs round factors to tf32, or, in fp32, forbids what torch allows convolutions by default."""
    rounded = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = rounded
    torch.backends.cudnn.allow_tf32 = rounded


def prepared(model: nn.Module, precision: Inference, device: torch.device) -> None:
    """Puts a trained model's weights into the type that the precision asks for; with bf16, `region` rounds them.

    Raises:
        RequestError: fp64 on a device that has none.
    """
    if precision == "fp64":
        if device.type == "mps":
            raise RequestError("--precision fp64: MPS has no float64; --device cpu has")
        model.double()


def region(precision: Precision | Inference, device: torch.device) -> AbstractContextManager[None]:
    """Within it networks run in bfloat16, if that is the precision; losses stay float32, for models return the type of
    their input.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
