"""Which arithmetic the network's products are done in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16"]


def use(precision: Precision) -> None:
    """Lets GPUs round factors to tf32, or, in fp32, forbids what torch allows convolutions by default."""
    rounded = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = rounded
    torch.backends.cudnn.allow_tf32 = rounded


def region(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Within it networks run in bfloat16, if that is the precision; losses stay float32, for models return the type of
    their input.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
