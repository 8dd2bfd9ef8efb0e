"""Networks and the HVP around them."""

import copy
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate

from hgfctl.engine.data.mixture import isotropic
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.preconditioning import precondition
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.losses.hvp_regression import HVPRegression
from hgfctl.engine.losses.times import LogNormalTimes, UniformTimes
from hgfctl.engine.models.hvp import HVP, parameter_count
from hgfctl.engine.models.networks.dit import DiT
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.models.networks.unet import UNet
from hgfctl.engine.models.networks.unet_layers import BINOMIAL, BOX, Conv2d, sub_pixel_kernel
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator

FLOWS = [Diffusion(), FlowMatching(), Oscillation(), Reflection()]


class Zero(nn.Module):
    """A network that knows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        return 0 * x


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 32, 32)])
@pytest.mark.parametrize("classes", [0, 10])
def test_unet_keeps_the_shape_and_uses_the_class(shape: tuple[int, ...], classes: int) -> None:
    torch.manual_seed(0)
    network = UNet(
        shape, classes, model_channels=16, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(shape[1] // 2,)
    )
    x, noise = torch.randn(2, *shape), torch.zeros(2)
    labels = torch.tensor([3, 4]) if classes else None
    assert network(x, noise, labels).shape == x.shape
    assert network(x, noise, labels).abs().max() < 0.1  # the output layer starts near zero
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    out = network(x, noise, labels)
    assert not torch.allclose(out, network(x, noise + 1, labels))
    if classes:
        assert not torch.allclose(out, network(x, noise, torch.tensor([5, 6])))


def test_unet_parts_are_named_as_in_edms_weights() -> None:
    """Names and shapes of the published CIFAR-10 DDPM++ state dict, at 1/8 of its width."""
    network = UNet((3, 32, 32), 10, model_channels=16, channel_mult=(2, 2, 2), num_blocks=4, attn_resolutions=(16,))
    parts = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name, shape in {
        "map_label.weight": (16, 10),
        "map_layer0.weight": (64, 16),
        "map_layer1.weight": (64, 64),
        "enc.32x32_conv.weight": (16, 3, 3, 3),
        "enc.16x16_down.skip.weight": (32, 32, 1, 1),
        "enc.16x16_block3.qkv.weight": (96, 32, 1, 1),
        "enc.16x16_block3.proj.bias": (32,),
        "enc.32x32_block0.affine.weight": (32, 64),
        "dec.8x8_in0.norm2.weight": (32,),
        "dec.16x16_up.conv0.weight": (32, 32, 3, 3),
        "dec.16x16_block4.qkv.weight": (96, 32, 1, 1),
        "dec.32x32_block4.conv0.weight": (32, 48, 3, 3),
        "dec.32x32_aux_norm.weight": (32,),
        "dec.32x32_aux_conv.weight": (3, 32, 3, 3),
    }.items():
        assert parts[name] == shape, name
    assert "enc.32x32_block1.skip.weight" not in parts
    assert "enc.8x8_block0.qkv.weight" not in parts


@pytest.mark.parametrize(
    ("shape", "message"), [((2,), "images"), ((1, 8, 7), "divisible by 2"), ((1, 9, 9), "divisible by 2")]
)
def test_unet_refuses_what_it_cannot_halve(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(shape, 0)


def test_mlp_starts_at_zero_and_uses_time_and_class() -> None:
    torch.manual_seed(0)
    network = MLP((3,), 4, width=16, harmonics=2)
    x, noise, labels = torch.randn(5, 3), torch.linspace(-1.5, 1, 5), torch.tensor([0, 1, 2, 3, 0])
    assert not bool(network(x, noise, labels).any())
    nn.init.normal_(network.dec.weight)
    nn.init.normal_(network.blocks[0].layer1.weight)
    out = network(x, noise, labels)
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, noise + 0.5, labels))
    assert not torch.allclose(out, network(x, noise, labels.flip(0)))
    with pytest.raises(ValueError, match="unet"):
        MLP((1, 8, 8), 0)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
def test_hvp_of_an_ignorant_network_is_the_best_linear_guess(flow: Flow) -> None:
    x, t = torch.randn(6, 2, dtype=torch.float64), torch.linspace(0.1, 0.9, 6, dtype=torch.float64) * flow.T
    _, c_skip, _ = precondition(flow, t)
    torch.testing.assert_close(HVP(Zero(), flow)(x, t), c_skip.unsqueeze(1) * (x - flow.centre))


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
def test_target_and_velocity_are_the_same_equation(flow: Flow) -> None:
    """(V - v)^2 = c_out^2 (predicted - wanted)^2."""
    torch.manual_seed(1)
    network = MLP((2,), 0, width=16)
    nn.init.normal_(network.dec.weight)
    hvp = HVP(network, flow)
    x, v = torch.randn(2, 6, 2, dtype=torch.float64)
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64) * flow.T
    _, _, c_out = precondition(flow, t)
    predicted, wanted = hvp.target(x, v, t)
    torch.testing.assert_close(hvp(x, t) - v, c_out.unsqueeze(1) * (predicted - wanted), atol=1e-6, rtol=1e-6)


def test_hvp_regression_is_least_at_the_exact_hvp() -> None:
    """Gaussian data: the exact network is known; its loss is the irreducible one, E Var[v_t | x_t] / c_out^2."""
    flow, sd = Oscillation(sd=0.5), 0.5
    mixture = isotropic(torch.zeros(1, 2, dtype=torch.float64), sd)

    class Exact(nn.Module):
        def __init__(self, error: float) -> None:
            super().__init__()
            self.error = nn.Parameter(torch.tensor(error, dtype=torch.float64))

        def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
            t = flow.time((4 * noise).exp())
            return MixtureHVP(mixture, flow)(x * sd, t) / sd + self.error

    x0 = mixture.sample(20_000, generator(5))
    losses = [
        float(HVPRegression(UniformTimes())(HVP(Exact(e), flow), x0, None, generator(6)).mean().detach())
        for e in (-0.3, 0.0, 0.3)
    ]
    # Isotropic Gaussian data of the prior's scale: V = 0 everywhere, so the loss is Var v / c_out^2 = 1.
    assert losses[1] == pytest.approx(1, abs=0.02)
    assert losses[0] == pytest.approx(losses[1] + 0.09, abs=0.01)
    assert losses[2] == pytest.approx(losses[1] + 0.09, abs=0.01)


@pytest.mark.parametrize("flow", FLOWS[:3], ids=lambda flow: type(flow).__name__)
def test_log_normal_times_have_their_law_on_the_common_clock(flow: Flow) -> None:
    t = LogNormalTimes(mean=-0.5, sd=0.8)(20_000, flow, generator(7))
    log_sigma = flow.sigma(t).log()
    assert float(log_sigma.mean()) == pytest.approx(-0.5, abs=1e-3)  # stratified: far better than 1/sqrt(N)
    assert float(log_sigma.std()) == pytest.approx(0.8, abs=2e-3)


def test_default_noise_levels_scale_with_the_data() -> None:
    small, large = (LogNormalTimes()(1000, Diffusion(sd=sd), generator(8)).log().mean() for sd in (0.5, 1.0))
    assert float(small) == pytest.approx(-1.2, abs=0.01)
    assert float(large - small) == pytest.approx(0.6931, abs=1e-3)


def test_uniform_times_cover_the_whole_interval() -> None:
    t = UniformTimes()(10_000, Reflection(), generator(9)).sort().values / Reflection().T
    assert bool((t > 0).all())
    assert bool((t <= 1).all())
    assert (t - torch.linspace(0, 1, 10_000)).abs().max() < 2e-4


PUBLISHED = {
    "ddpm++ 32": ("ddpm++", 32, (2, 2, 2), 0, 55_733_891, 425),
    "ddpm++ 32 cond": ("ddpm++", 32, (2, 2, 2), 10, 55_735_299, 427),
    "ddpm++ 64": ("ddpm++", 64, (1, 2, 2, 2), 0, 61_805_571, 553),
    "ncsn++ 32": ("ncsn++", 32, (2, 2, 2), 0, 56_397_827, 432),
    "ncsn++ 64": ("ncsn++", 64, (1, 2, 2, 2), 0, 62_761_091, 563),
}


@pytest.mark.parametrize(
    ("architecture", "size", "mult", "classes", "parameters", "entries"), PUBLISHED.values(), ids=PUBLISHED.keys()
)
def test_full_size_unets_have_the_published_counts(
    architecture: Literal["ddpm++", "ncsn++"],
    size: int,
    mult: tuple[int, ...],
    classes: int,
    parameters: int,
    entries: int,
) -> None:
    """Parameters and state-dict entries of EDM's published networks, with 9 augmentation labels, without allocating."""
    with torch.device("meta"):
        network = UNet((3, size, size), classes, 9, architecture, 128, mult, num_blocks=4, attn_resolutions=(16,))
    assert parameter_count(network) == parameters
    assert len(network.state_dict()) == entries


def lively(network: nn.Module) -> nn.Module:
    """With weights in the layers that start near zero, so that every part matters."""
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return network


NETWORKS = {
    "ddpm++": lambda shape: UNet(shape, 5, 9, "ddpm++", 32, (1, 2), num_blocks=1, attn_resolutions=(shape[1] // 2,)),
    "ncsn++": lambda shape: UNet(shape, 5, 9, "ncsn++", 32, (1, 2), num_blocks=1, attn_resolutions=(shape[1] // 2,)),
    "dit": lambda shape: DiT(shape, 5, 9, patch=2, width=32, depth=2, heads=2),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("shape", [(3, 12, 12), (1, 20, 8)])
def test_image_networks_take_any_even_size_and_use_all_they_are_told(make: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = lively(make(shape)).eval()
    x, noise, labels = torch.randn(3, *shape), torch.linspace(-1.5, 1, 3), torch.tensor([0, 4, 2])
    augmented = torch.randn(3, 9)
    with torch.no_grad():
        out = network(x, noise, labels, augmented)
        assert out.shape == x.shape
        for other in (
            network(x, noise + 0.3, labels, augmented),
            network(x, noise, labels.flip(0), augmented),
            network(x, noise, labels, augmented + 1),
            network(x, noise, None, augmented),
            network(x.flip(3), noise, labels, augmented),
        ):
            assert float((other - out).abs().max()) > 1e-3
        torch.testing.assert_close(network(x, noise, labels, 0 * augmented), network(x, noise, labels))


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_float32_outputs_and_gradients_are_those_of_float64(make: Any) -> None:
    """2e-6 of the float64 outputs, 1e-5 of the float64 gradients, both in the Euclidean norm."""
    torch.manual_seed(1)
    network = lively(make((3, 16, 16)))
    exact = copy.deepcopy(network).double()
    x, noise, labels = torch.randn(4, 3, 16, 16), torch.linspace(-1.5, 1, 4), torch.tensor([0, 4, 2, 1])

    def gradients(net: nn.Module, dtype: torch.dtype) -> Tensor:
        net(x.to(dtype), noise.to(dtype), labels).square().mean().backward()
        return torch.cat([p.grad.flatten().double() for p in net.parameters() if p.grad is not None])

    one, other = gradients(network, torch.float32), gradients(exact, torch.float64)
    assert float((one - other).norm() / other.norm()) < 1e-5
    with torch.no_grad():
        out = network.eval()(x, noise, labels).double()
        wanted = exact.eval()(x.double(), noise.double(), labels)
    assert float((out - wanted).norm() / wanted.norm()) < 2e-6


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_recomputing_changes_no_gradient(make: Any) -> None:
    torch.manual_seed(2)
    network = lively(make((3, 8, 8)))
    x, noise = torch.randn(2, 3, 8, 8), torch.zeros(2)
    gradients = []
    for recompute in (False, True):
        network.recompute = recompute
        network.zero_grad()
        network(x, noise).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_one_transposed_convolution_repeats_pixels_and_convolves() -> None:
    x, weight = torch.randn(2, 5, 6, 7).double(), torch.randn(4, 5, 3, 3).double()
    slow = conv2d(interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    fast = conv_transpose2d(x, sub_pixel_kernel(weight), stride=2, padding=1)
    torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("taps", [BOX, BINOMIAL])
def test_a_pointwise_convolution_commutes_with_doubling(taps: tuple[int, ...]) -> None:
    layer = Conv2d(5, 4, 1, "up", taps).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 6, 6).double()
    torch.testing.assert_close(layer(x), conv2d(layer.resampled(x), layer.weight, layer.bias))


def test_unmet_resolutions_and_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="no level is 16 pixels high; they are 12, 6"):
        UNet((3, 12, 12), 0, attn_resolutions=(16,))
    with pytest.raises(ValueError, match="patch 5 does not divide 12 x 12"):
        DiT((3, 12, 12), 0, patch=5)
