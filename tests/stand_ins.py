"""Networks without training in the form of published files."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Module):
    def __init__(self, width: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)
        nn.init.normal_(self.bn.running_mean, std=0.1)
        nn.init.uniform_(self.bn.running_var, 0.5, 1.5)
        nn.init.normal_(self.bn.bias, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class StandIn(nn.Module):
    """What clean-fid and we ask of the published Inception: `layers`, to 2048 numbers from 299 x 299 pixels, and a
    `forward` that resizes as TensorFlow 1 does."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.output = nn.Linear(2048, 8)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        batch, channels, height, width = img.shape
        theta = torch.eye(2, 3, device=img.device)
        theta[0, 2] = 1 / width - 1 / 299
        theta[1, 2] = 1 / height - 1 / 299
        grid = functional.affine_grid(theta[None].repeat(batch, 1, 1), [batch, channels, 299, 299], align_corners=False)
        x = functional.grid_sample(img, grid, mode="bilinear", padding_mode="border", align_corners=False)
        features = self.layers((x - 128) / 128).reshape(-1, 2048)
        return features if return_features else self.output(features).softmax(1)


def small_layers() -> nn.Module:
    """A few convolutions in place of Inception's 94."""
    return nn.Sequential(
        Convolution(3, 16, 7, 4), Convolution(16, 32, 5, 4), Convolution(32, 2048, 3, 2), nn.AdaptiveAvgPool2d(1)
    )  # fmt: skip


def write_inception(path: Path, layers: nn.Module | None = None) -> Path:
    """A TorchScript file in the form of inception-2015-12-05.pt, with untrained weights that are always the same."""
    torch.manual_seed(0)
    network = StandIn(layers or small_layers()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(network).save(path)
    return path
