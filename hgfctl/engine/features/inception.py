"""Inception of 2015, which the FID is defined with: NVIDIA's TorchScript port of TensorFlow's graph, as in clean-fid
and EDM.
"""

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from hgfctl.engine.features.features import Features, FeaturesId, resized, to_rgb
from hgfctl.engine.provided import DEVICE
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage.cache import Published, sha256

DIM = 2048
SIDE = 299
WEIGHTS = Published(
    name="inception-2015-12-05.pt",
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    size=95_607_719,
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
)


class Inception(Features):
    """Features `inception`: (B, 2048), the last pooled layer.

    Args:
        device: where to compute.
        resizing: clean, or legacy-tensorflow, which is part of the network's own file.
        weights: the file; WEIGHTS from the cache, or downloaded, when left out.
        allow_code: take another file than WEIGHTS. TorchScript is a program, so only one that is known is run unasked.

    Raises:
        HgfctlError: the weights cannot be had, or are not such a network.
        RequestError: an unknown file, and `allow_code` is not set.
    """

    def __init__(
        self,
        device: Annotated[torch.device, DEVICE],
        resizing: Literal["legacy-tensorflow", "clean"],
        weights: Path | None = None,
        allow_code: bool = False,
    ) -> None:
        path = weights or WEIGHTS.fetched("`features=random` needs no file and works now")
        digest = sha256(path)
        known = digest == WEIGHTS.sha256
        if not known and not allow_code:
            raise RequestError(
                f"{path} is not the published {WEIGHTS.name} (SHA-256 {WEIGHTS.sha256}), but {digest}\n"
                "TorchScript is a program; `allow_code` runs this one"
            )
        self.device, self.resizing = device, resizing
        self.id = FeaturesId("inception", resizing if known else f"{resizing} {digest[:8]}")
        self._network = _load(path, device, resizing)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        x = to_rgb(images.to(self.device)).float().contiguous(memory_format=torch.channels_last)
        inputs = ((resized(x, SIDE) - 128) / 128,) if self.resizing == "clean" else (x, True)
        found: Tensor = self._network(*inputs)
        return found.reshape(len(images), DIM).float()


def _load(path: Path, device: torch.device, resizing: str) -> torch.jit.ScriptModule:
    """The network with its weights as constants and batch norms folded into the convolutions."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch means to give TorchScript up one day
            load: Any = torch.jit.load  # it has no types
            whole = load(path, map_location=device).eval()
            network = (whole.layers if resizing == "clean" else whole).to(memory_format=torch.channels_last)
            frozen: torch.jit.ScriptModule = torch.jit.freeze(network)
            return frozen
    except (RuntimeError, AttributeError, ValueError) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise HgfctlError(f"{path} is not a TorchScript Inception such as {WEIGHTS.name}: {reason}") from None
