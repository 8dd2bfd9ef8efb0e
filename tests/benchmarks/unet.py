"""How fast and how exact are the U-Nets, against the reference implementation where its repository is at hand?

    python tests/benchmarks/unet.py [--reference PATH/TO/edm] [--network cifar10 ffhq] [--device cpu] [--batch 16]

All arms take turns in one process; the reference stands among them twice (A/A), so the second row of it says what
noise looks like. Ratios are of medians. Without a reference our own pace is printed, and the share of the pace of a
plain convolution, 256 -> 256 channels, 3 x 3, 32 x 32, in the same precision.

    train      forward and backward pass of the mean square of the output
    forward    without gradients, in evaluation
    error      |output - output in float64| / |output in float64|, and the same of all gradients together
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from hgfctl.engine import precision
from hgfctl.engine.models.networks.unet import UNet

SHAPES: dict[str, Any] = {
    "cifar10": {"resolution": 32, "channel_mult": (2, 2, 2), "dropout": 0.13},
    "ffhq": {"resolution": 64, "channel_mult": (1, 2, 2, 2), "dropout": 0.05},
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ddpm++": {
        "embedding_type": "positional",
        "encoder_type": "standard",
        "channel_mult_noise": 1,
        "resample_filter": [1, 1],
    },
    "ncsn++": {
        "embedding_type": "fourier",
        "encoder_type": "residual",
        "channel_mult_noise": 2,
        "resample_filter": [1, 3, 3, 1],
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="a clone of NVlabs/edm")
    parser.add_argument("--network", nargs="+", choices=SHAPES, default=["cifar10"])
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="ddpm++")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="an arm in bf16 that is compiled")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {name}, batch {arguments.batch}, {arguments.rounds} rounds")
    for network in arguments.network:
        measure(network, arguments, device)


def measure(name: str, arguments: argparse.Namespace, device: torch.device) -> None:
    ours, reference = networks(name, arguments.architecture, arguments.reference, device)
    print(f"\n{name}, {arguments.architecture}")
    errors(ours, reference, SHAPES[name]["resolution"], device)
    x = torch.randn(arguments.batch, 3, SHAPES[name]["resolution"], SHAPES[name]["resolution"], device=device)
    noise = torch.randn(arguments.batch, device=device)
    arms: dict[str, tuple[nn.Module, precision.Precision]] = {}
    if reference is not None:
        arms |= {"reference fp32": (reference, "fp32"), "reference again": (reference, "fp32")}
    arms["ours fp32"] = (ours, "fp32")
    if device.type == "cuda":
        arms["ours tf32"] = (ours, "tf32")
    arms["ours bf16"] = (ours, "bf16")
    if arguments.compile:
        arms["ours bf16, compiled"] = (torch.compile(ours), "bf16")
    for what, train in (("train", True), ("forward", False)):
        for network, _ in arms.values():
            network.train(train)
        paces = race({arm: work(network, x, noise, how, train) for arm, (network, how) in arms.items()}, arguments)
        base = paces.get("reference fp32")
        for arm, seconds in paces.items():
            ratio = f"{base / seconds:5.2f} x reference" if base else f"{paces['ours fp32'] / seconds:5.2f} x ours fp32"
            share = f"{conv_share(ours, x, noise, seconds, arms[arm][1], train):.0%} of a plain convolution's pace"
            print(f"  {what:8} {arm:20} {len(x) / seconds:8.2f} images/s  {ratio}  {share}")


def networks(name: str, architecture: str, path: str | None, device: torch.device) -> tuple[UNet, nn.Module | None]:
    """Ours and the reference with the same weights, those of layers that start near zero made alive."""
    shape = SHAPES[name]
    resolution, mult, dropout = shape["resolution"], shape["channel_mult"], shape["dropout"]
    torch.manual_seed(0)
    ours = UNet(
        (3, resolution, resolution),
        0,
        9,
        architecture,  # type: ignore[arg-type]
        128,
        mult,
        num_blocks=4,
        attn_resolutions=(16,),
        dropout=dropout,
    )
    with torch.no_grad():
        for key, p in ours.named_parameters():
            if key.endswith(("conv1.weight", "proj.weight", "aux_conv.weight")):
                p.mul_(3e4)
    if path is None:
        return ours.to(device), None
    sys.path.insert(0, path)
    from training.networks import SongUNet  # type: ignore[import-not-found]

    reference = SongUNet(
        img_resolution=resolution,
        in_channels=3,
        out_channels=3,
        augment_dim=9,
        model_channels=128,
        channel_mult=list(mult),
        num_blocks=4,
        attn_resolutions=[16],
        dropout=dropout,
        decoder_type="standard",
        **ARCHITECTURES[architecture],
    )
    reference.load_state_dict(ours.state_dict())
    return ours.to(device), reference.to(device)


def errors(ours: UNet, reference: nn.Module | None, resolution: int, device: torch.device) -> None:
    """Of outputs and gradients in float32, without dropout; the float64 network is ours, on the same device."""
    x, noise = torch.randn(2, 3, resolution, resolution, device=device), torch.tensor([-0.5, 0.3], device=device)

    def answer(network: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        out = network(x.to(dtype), noise.to(dtype), None)
        out.square().mean().backward()
        slopes = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        return out.detach().double(), torch.cat([slopes[name].flatten().double() for name in sorted(slopes)])

    precision.use("fp32")
    exact = answer(copy.deepcopy(ours).double().eval(), torch.float64)
    arms = {"ours": ours} | ({} if reference is None else {"reference": reference})
    for arm, network in arms.items():
        out, slope = ((a - b).norm() / b.norm() for a, b in zip(answer(network.eval(), torch.float32), exact))
        print(f"  error    {arm:20} output {float(out):.1e}, gradient {float(slope):.1e}")
        network.zero_grad()


def work(
    network: nn.Module, x: torch.Tensor, noise: torch.Tensor, how: precision.Precision, train: bool
) -> Callable[[], None]:
    """One pass over the batch, finished when it returns."""

    def once() -> None:
        precision.use(how)
        grad: AbstractContextManager[Any] = nullcontext() if train else torch.no_grad()
        with grad:
            with precision.training_region(how, x.device):
                out = network(x, noise, None)
            if train:
                out.float().square().mean().backward()
                network.zero_grad(set_to_none=True)
        if x.device.type == "cuda":
            torch.cuda.synchronize()

    return once


def race(arms: dict[str, Callable[[], None]], arguments: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each arm, all taking turns."""
    for arm in arms.values():
        for _ in range(2):
            arm()
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(arguments.rounds):
        for name, arm in arms.items():
            began = time.perf_counter()
            arm()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def conv_share(
    network: UNet, x: torch.Tensor, noise: torch.Tensor, seconds: float, how: precision.Precision, train: bool
) -> float:
    """Operations a second, as a share of those of one large convolution's forward pass."""
    key = (how, x.device)
    if key not in _PEAKS:
        _PEAKS[key] = conv_peak(how, x.device)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, noise, None)
    return counter.get_total_flops() * (3 if train else 1) / seconds / _PEAKS[key]


_PEAKS: dict[Any, float] = {}


def conv_peak(how: precision.Precision, device: torch.device) -> float:
    """Operations a second of a plain convolution."""
    batch, channels, side = (4 if device.type == "cpu" else 256), 256, 32
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, memory_format=torch.channels_last)
    image = torch.randn(batch, channels, side, side, device=device).to(memory_format=torch.channels_last)
    if how == "bf16":
        layer, image = layer.bfloat16(), image.bfloat16()
    precision.use(how)
    with torch.no_grad():
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            layer(image)
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    return 2 * batch * side**2 * channels**2 * 9 / statistics.median(taken[5:])


if __name__ == "__main__":
    main()
