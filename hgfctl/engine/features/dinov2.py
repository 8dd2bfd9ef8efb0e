"""DINOv2 (Oquab et al. 2023, arXiv 2304.07193), a vision transformer trained without labels, as in EDM2's FD_DINOv2."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hgfctl.engine.features.features import Features, FeaturesId, resized, to_rgb
from hgfctl.engine.provided import DEVICE
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage.cache import cache_folder, reason, sha256

SIDE, PATCH = 224, 14
SIZES = {384: "small", 768: "base", 1024: "large", 1536: "giant"}
"""By the width of the network; EDM2 uses `large`."""
MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILE, BYTES = "dinov2_vitl14_pretrain.pth", 1_217_586_395
"""The authors' file, which they publish without a checksum: the size has to do."""
URL = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/{FILE}"
TIMM = "vit_{size}_patch14_dinov2.lvd142m"


class DINOv2(Features):
    """Features `dinov2`: (B, 1024), or the width of the weights given: the class token after the last norm, of images
    resized to 224 x 224 (bicubic, anti-aliased).

    Args:
        device: where to compute.
        weights: a state dict as published (.pth) or as timm has it (.safetensors); the cache's, or timm's, when
            left out.

    Raises:
        HgfctlError: the weights cannot be had or read, or timm is not installed.
        RequestError: they are not DINOv2's.
    """

    def __init__(self, device: Annotated[torch.device, DEVICE], weights: Path | None = None) -> None:
        timm = _timm()
        path = weights or _cached()
        tensors = _read(path) if path else _from_timm(timm)
        width = tensors["cls_token"].shape[-1] if "cls_token" in tensors else 0
        if width not in SIZES:
            raise RequestError(
                f"{path} is not a DINOv2 ViT with patches of 14; known widths: {', '.join(map(str, SIZES))}"
            )
        size = SIZES[width]
        self.device = device
        published = path is None or (size == "large" and path.stat().st_size == BYTES)
        self.id = FeaturesId("dinov2", f"ViT-{size}" + ("" if published or not path else f" {sha256(path)[:8]}"))
        network: nn.Module = timm.create_model(TIMM.format(size=size), pretrained=False, num_classes=0, img_size=SIDE)
        try:
            network.load_state_dict(_fitted(tensors))
        except RuntimeError as error:
            raise RequestError(f"{path} is not DINOv2's ViT-{size}: {str(error).splitlines()[1].strip()}") from None
        self._network = network.to(device).eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        x = resized(to_rgb(images.to(self.device)).float(), SIDE) / 255
        x = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(SD).view(3, 1, 1)
        found: Tensor = self._network(x)
        return found


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise HgfctlError("features dinov2 needs timm: pip install timm; or use `features=random`") from None
    return timm


def _cached() -> Path | None:
    return next((path for folder in ("weights", "") if (path := cache_folder() / folder / FILE).exists()), None)


def _from_timm(timm: Any) -> dict[str, Tensor]:
    try:
        network: nn.Module = timm.create_model(TIMM.format(size="large"), pretrained=True, num_classes=0)
    except Exception as error:  # the hub's client has many ways to fail
        raise HgfctlError(
            f"no {FILE} in {cache_folder()}, and timm cannot download DINOv2 ({reason(error)})\n"
            f"put {URL} ({BYTES:,} bytes) at {cache_folder() / 'weights' / FILE}; "
            "`features=random` needs no file and works now"
        ) from None
    return network.state_dict()


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise HgfctlError(f"cannot read {path} as weights: {reason(error)}") from None
    except Exception as error:  # pickle.UnpicklingError: it names something that weights do not hold
        raise HgfctlError(f"{path} does not hold weights alone, and is not loaded: {type(error).__name__}") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise RequestError(f"{path} is no state dict of tensors")
    return dict(tensors)


def _fitted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For 224 x 224: position embeddings interpolated as DINOv2's own code does; without what only training needs."""
    fitted = {re.sub(r"^backbone\.", "", name): value for name, value in tensors.items() if name != "mask_token"}
    if "pos_embed" not in fitted:
        return fitted
    embedding = fitted["pos_embed"].float()
    grid, side = round((embedding.shape[1] - 1) ** 0.5), SIDE // PATCH
    if grid != side:
        patches = embedding[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        scale = (side + 0.1) / grid
        patches = functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
        fitted["pos_embed"] = torch.cat([embedding[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], 1)
    return fitted
