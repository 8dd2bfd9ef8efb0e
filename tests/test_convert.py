"""Published weights: what EDM's formulas make of them, and what the checkpoint does."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from hgfctl.cli.app import app
from hgfctl.engine.checkpoint import read_checkpoint, with_flow
from hgfctl.engine.conversion.convert import convert
from hgfctl.engine.data.mixture import gmm_mixture
from hgfctl.engine.flows.conversions import denoiser_from_hvp
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.models.clocks import CosineSteps, VarianceExploding, VariancePreserving
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks.adm import ADM
from hgfctl.engine.models.networks.magnitude_layers import UnitFourier, UnitWeights, blend, join, to_unit, unit_silu
from hgfctl.engine.models.networks.magnitude_unet import MagnitudeUNet
from hgfctl.engine.models.networks.unet import UNet
from hgfctl.engine.models.noise_predictor import NoisePredictor
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError
from tests.snapshots import RAN, edm2_snapshot, module, network, snapshot, write

SHAPE = (3, 8, 8)
SIZES: dict[str, Any] = {"model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
NCSN = {
    "embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]
}  # fmt: skip
SD = 0.5
FLOWS = [
    Diffusion(),
    FlowMatching(),
    FlowMatching(s=2.0),
    Oscillation(),
    Oscillation(alpha=2.0, s=1.7),
    Oscillation(s=0.1),
]
VP: dict[str, Any] = {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5}
VE: dict[str, Any] = {"sigma_min": 0.02, "sigma_max": 100}
IDDPM: dict[str, Any] = {"C_1": 0.001, "C_2": 0.008, "M": 1000}


@dataclass(frozen=True)
class Published:
    """A network with random weights, as its file says it and as its paper uses it.

    Args:
        preconditioning, attributes: of the file.
        architecture: ddpm++, ncsn++ or adm.
        classes, augment_dim: of the network.
        denoiser: D(F, y, sigma), Karras et al. 2022, table 1; F(x, noise) is the raw network.
    """

    preconditioning: str
    attributes: dict[str, Any]
    architecture: str
    classes: int
    augment_dim: int
    denoiser: Callable[[Any, Tensor, float], Tensor]

    def raw(self) -> nn.Module:
        torch.manual_seed(len(self.architecture) + self.classes)
        sizes = {**SIZES, "model_channels": 64} if self.architecture == "adm" else SIZES
        if self.architecture == "adm":
            made: nn.Module = ADM(SHAPE, self.classes, self.augment_dim, **sizes)
        else:
            made = UNet(SHAPE, self.classes, self.augment_dim, self.architecture, **sizes)  # type: ignore[arg-type]
        with torch.no_grad():
            for p in made.parameters():
                p.copy_(torch.randn_like(p) * (0.8 / math.sqrt(p[0].numel()) if p.ndim > 1 else 0.3))
        return made.eval()

    def write(self, path: Path, raw: nn.Module) -> Path:
        tensors = dict(raw.state_dict())
        made_with: dict[str, Any] = {**SIZES, "augment_dim": self.augment_dim}
        if self.architecture == "adm":
            made_with["model_channels"] = 64
            tensors["enc.4x4_down.skip.resample_filter"] = torch.full((1, 1, 2, 2), 0.25)  # EDM's has it, ours has not
        if self.architecture == "ncsn++":
            made_with |= NCSN
        if self.preconditioning == "iDDPMPrecond":  # its second half estimates variances
            for name in ("out_conv.weight", "out_conv.bias"):
                tensors[name] = torch.cat([tensors[name], torch.randn_like(tensors[name])])
        kind = "DhariwalUNet" if self.architecture == "adm" else "SongUNet"
        content = network(kind, tensors, SHAPE, self.classes, **made_with)
        return write(path, snapshot(self.preconditioning, content, **self.attributes))


def _edm(f: Any, y: Tensor, sigma: float) -> Tensor:
    size = math.sqrt(sigma**2 + SD**2)
    return SD**2 / size**2 * y + sigma * SD / size * f(y / size, math.log(sigma) / 4)


def _vp(f: Any, y: Tensor, sigma: float) -> Tensor:
    t = (math.sqrt(0.1**2 + 2 * 19.9 * math.log(1 + sigma**2)) - 0.1) / 19.9
    return y - sigma * f(y / math.sqrt(1 + sigma**2), 999 * t)


def _ve(f: Any, y: Tensor, sigma: float) -> Tensor:
    return y + sigma * f(y, math.log(sigma / 2))


def _iddpm(f: Any, y: Tensor, sigma: float) -> Tensor:
    nearest = min(range(1001), key=lambda j: abs(_level(j) - sigma))
    return y - sigma * f(y / math.sqrt(1 + sigma**2), 999 - nearest)


def _level(j: int) -> float:
    """u_j^2 + 1 = A_M / A_j while no step is clipped, that is for every j but the first few."""
    kept, last = (math.sin(math.pi / 2 * i / (1000 * 1.008)) ** 2 for i in (max(j, 1), 1000))
    return math.sqrt(last / kept - 1)


PUBLISHED = {
    "uncond": Published("EDMPrecond", {"sigma_data": SD}, "ddpm++", 0, 9, _edm),
    "cond": Published("EDMPrecond", {"sigma_data": SD}, "ddpm++", 10, 0, _edm),
    "ncsnpp": Published("EDMPrecond", {"sigma_data": SD}, "ncsn++", 0, 9, _edm),
    "adm-cond": Published("EDMPrecond", {"sigma_data": SD}, "adm", 10, 0, _edm),
    "vp": Published("VPPrecond", VP, "ddpm++", 10, 0, _vp),
    "ve": Published("VEPrecond", VE, "ncsn++", 0, 0, _ve),
    "iddpm": Published("iDDPMPrecond", IDDPM, "adm", 0, 4, _iddpm),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_converted_network_denoises_as_its_paper_says_under_every_flow(case: str, tmp_path: Path) -> None:
    """D(x, t) = D_paper(x / a; b / a), in float64 to 1e-9 of what the network amplifies, in float32 to 1e-5 of it."""
    published = PUBLISHED[case]
    raw = published.raw()
    made = convert(published.write(tmp_path / "x.pkl", raw), tmp_path / "x.safetensors")
    model = read_checkpoint(tmp_path / "x.safetensors", torch.device("cpu"))
    assert isinstance(model.model, HVP)
    assert (model.shape, model.classes, made.network.architecture) == (SHAPE, published.classes, published.architecture)
    assert (
        made.parameters >= sum(p.numel() for p in raw.parameters()) - 4 * 64
    )  # but for labels of another augmentation
    rng = generator("convert")
    x0, z = (torch.randn(2, *SHAPE, generator=rng, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([3, 7]) if published.classes else None
    for dtype, tolerance, flows in ((torch.float64, 1e-9, FLOWS), (torch.float32, 1e-5, FLOWS[:1])):
        raw.to(dtype)
        model.model.to(dtype)

        def f(x: Tensor, noise: float, dtype: torch.dtype = dtype) -> Tensor:
            with torch.no_grad():
                return raw(x.to(dtype), torch.full((2,), noise, dtype=dtype), labels).double()

        for flow in flows:
            hvp = model.model.under(flow)
            for sigma in (0.025, 1.0, 79.0):
                y = SD * x0 + sigma * z
                t = flow.time(torch.tensor(sigma, dtype=torch.float64))
                x = flow.path(t).a * y
                with torch.no_grad():
                    found = denoiser_from_hvp(flow, x, t, hvp(x, t, labels))
                scale = max(1.0, sigma if published.preconditioning != "EDMPrecond" else 1.0)
                assert (found - published.denoiser(f, y, sigma)).abs().max() < tolerance * scale, (flow, sigma)
    assert not Path(RAN).exists()


@pytest.mark.parametrize("classes", [0, 10])
def test_a_network_of_edm2_denoises_as_edm_says_from_its_float16_file(classes: int, tmp_path: Path) -> None:
    torch.manual_seed(classes)
    raw = MagnitudeUNet(SHAPE, classes, 64, (1, 4), num_blocks=1, attn_resolutions=(4,), res_balance=0.4).eval()
    with torch.no_grad():
        for p in raw.parameters():
            p.copy_(p.half() if p.ndim else 0.75)  # 0.75 / sqrt(256) and 0.75 / sqrt(64 * 9) are exact in float16
        for buffer in raw.buffers():
            buffer.copy_(buffer.half())
    tensors = {name: value.half() for name, value in raw.state_dict().items()}
    made_with = {
        "img_resolution": 8, "img_channels": 3, "label_dim": classes, "model_channels": 64, "channel_mult": [1, 4],
        "num_blocks": 1, "attn_resolutions": [4], "res_balance": 0.4,
    }  # fmt: skip
    content = module("UNet", tensors, _init_args=(), _init_kwargs=made_with)
    made = convert(write(tmp_path / "x.pkl", edm2_snapshot(content)), tmp_path / "x.safetensors")
    assert (made.network.architecture, made.config.data.options["path"]) == ("edm2", "img64.zip")
    model = read_checkpoint(tmp_path / "x.safetensors", torch.device("cpu"))
    hvp = model.model.double()
    assert isinstance(hvp, HVP)
    raw.double()
    y = torch.randn(2, *SHAPE, generator=generator("edm2"), dtype=torch.float64)
    labels = torch.tensor([3, 7]) if classes else None

    def f(x: Tensor, noise: float) -> Tensor:
        with torch.no_grad():
            return raw(x, torch.full((2,), noise, dtype=torch.float64), labels)

    for sigma in (0.05, 2.0):
        t = hvp.flow.time(torch.tensor(sigma, dtype=torch.float64))
        found = denoiser_from_hvp(hvp.flow, y, t, hvp(y, t, labels))
        torch.testing.assert_close(found, _edm(f, y, sigma), rtol=0, atol=1e-9)


def test_gains_of_edm2_are_rounded_as_its_program_rounds_them(tmp_path: Path) -> None:
    """g / sqrt(n) is taken in float16 there; 0.3 / sqrt(4 * 9) is moved by 2e-4 of it."""
    raw = MagnitudeUNet((1, 4, 4), 0, 4, (1,), num_blocks=0)
    tensors = {name: (value if value.ndim else torch.tensor(0.3)).half() for name, value in raw.state_dict().items()}
    made_with = {"img_resolution": 4, "img_channels": 1, "model_channels": 4, "channel_mult": [1], "num_blocks": 0}
    content = module("UNet", tensors, _init_args=(), _init_kwargs=made_with)
    convert(write(tmp_path / "x.pkl", edm2_snapshot(content)), tmp_path / "x.safetensors")
    gain = float(
        read_checkpoint(tmp_path / "x.safetensors", torch.device("cpu")).model.state_dict()["network.out_gain"]
    )
    assert gain == pytest.approx(-6 * float(np.float16(np.float16(0.3) / np.float16(6))), rel=1e-7)
    assert gain != pytest.approx(-float(np.float16(0.3)), rel=1e-5)


def test_layers_of_edm2_preserve_magnitudes() -> None:
    """Unit second moments in, unit second moments out: 200,000 draws or more, 4 standard errors."""
    torch.manual_seed(0)
    a, b = torch.randn(4, 64, 32, 32), torch.randn(4, 16, 32, 32)
    for out in (
        unit_silu(a),
        blend(a[:, :16], b, 0.3),
        join(a, b, 0.3),
        to_unit(5 * a, (1,)),
        UnitFourier(64)(a[0, 0, 0]),
    ):
        assert float(out.square().mean()) == pytest.approx(1, abs=0.03)
    joined = join(a, b, 0.3)
    shares = [float(joined[:, part].square().sum(1).mean()) for part in (slice(0, 64), slice(64, 80))]
    assert shares[1] / shares[0] == pytest.approx((0.3 / 0.7) ** 2, rel=0.03)
    layer = UnitWeights(64, 512, 3)
    assert float(layer(a[:1]).detach()[..., 1:-1, 1:-1].square().mean()) == pytest.approx(1, abs=0.05)


def test_weights_of_edm2_count_by_their_direction_alone() -> None:
    torch.manual_seed(0)
    layer, x = UnitWeights(8, 4).eval(), torch.randn(3, 8)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([[3.0], [0.5], [7.0], [1.0]]))
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-3)
    layer.train()(x)
    torch.testing.assert_close(layer.weight.square().mean(1), torch.ones(4), rtol=1e-3, atol=0)


def test_of_edm2_latents_and_other_variants_are_refused(tmp_path: Path) -> None:
    def refused(encoder: str = "StandardRGBEncoder", **made_with: Any) -> str:
        raw = module(
            "UNet", {"out_gain": torch.ones(())}, _init_args=(), _init_kwargs={"img_resolution": 8, **made_with}
        )
        write(tmp_path / "x.pkl", edm2_snapshot(raw, encoder))
        with pytest.raises(RequestError) as refusal:
            convert(tmp_path / "x.pkl", tmp_path / "x.safetensors")
        return str(refusal.value)

    assert "latents of Stable Diffusion" in refused("StabilityVAEEncoder")
    assert "clip_act" in refused(clip_act=None)
    assert "img_channels of UNet is to be a whole number" in refused()


@pytest.mark.parametrize("flow", FLOWS, ids=str)
@pytest.mark.parametrize("source", [FLOWS[0], FLOWS[1], FLOWS[4]], ids=str)
def test_a_predictor_that_is_exact_for_one_flow_is_exact_for_all(source: LinearFlow, flow: LinearFlow) -> None:
    """The network that makes an HVP of `source` the exact one of a Gaussian mixture does so for every other flow,
    whatever its prior, though each asks for another velocity and scales otherwise."""
    law = gmm_mixture()

    class Exact(nn.Module):
        """N solved from V = c_skip x + c_out N under `source`."""

        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, u: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
            t = source.time((4 * noise).exp())
            m = source.moments(t)
            x = u * m.xx.sqrt()[:, None]
            return (MixtureHVP(law, source)(x, t) - (m.xv / m.xx)[:, None] * x) / m.residual.sqrt()[:, None]

    sigma = torch.tensor([0.01, 0.2, 1.0, 5.0, 60.0], dtype=torch.float64)
    t = flow.time(sigma)
    x = torch.randn(5, 2, generator=generator("flows"), dtype=torch.float64) * flow.moments(t).xx.sqrt()[:, None]
    hvp = HVP(Exact(), source).under(flow)
    torch.testing.assert_close(hvp(x, t), MixtureHVP(law, flow)(x, t), rtol=1e-9, atol=1e-9)


def test_under_leaves_the_model_itself_as_it_was() -> None:
    hvp = HVP(nn.Linear(2, 2), Diffusion())
    other = hvp.under(Oscillation())
    assert (hvp.flow, other.flow) == (Diffusion(), Oscillation())
    assert other.network is hvp.network


def test_clocks_of_noise_predictors() -> None:
    sigma = torch.logspace(-2, 2, 9, dtype=torch.float64)
    t = VariancePreserving().time(sigma) / 999
    torch.testing.assert_close((19.9 * t**2 / 2 + 0.1 * t).expm1().sqrt(), sigma)
    assert VariancePreserving().ends == pytest.approx((1.0000e-3, 152.15), rel=1e-3)
    torch.testing.assert_close(2 * VarianceExploding().time(sigma).exp(), sigma)
    steps = CosineSteps()
    assert steps.levels.shape == (1001,)
    for j in (20, 500, 999, 1000):
        assert float(steps.levels[j]) == pytest.approx(_level(j), rel=1e-9, abs=1e-9)
    assert steps.time(steps.levels[[0, 10, 999]]).tolist() == [999, 989, 0]


def test_noise_predictors_are_of_linear_flows_and_known_clocks() -> None:
    with pytest.raises(ValueError, match="linear flows"):
        NoisePredictor(nn.Linear(2, 2), Reflection(), {"name": "vp"})
    with pytest.raises(RequestError, match="unknown clock 'vq'; known: iddpm, ve, vp"):
        NoisePredictor(nn.Linear(2, 2), Diffusion(), {"name": "vq"})
    with pytest.raises(RequestError, match="beta_d"):
        NoisePredictor(nn.Linear(2, 2), Diffusion(), {"name": "vp", "beta_d": "steep"})


def test_flows_that_cannot_be_exchanged_are_refused(tmp_path: Path) -> None:
    path = PUBLISHED["uncond"].write(tmp_path / "network-snapshot-001234.pkl", PUBLISHED["uncond"].raw())
    convert(path, tmp_path / "x.safetensors")
    model = read_checkpoint(tmp_path / "x.safetensors", torch.device("cpu"))
    assert model.images == 1_234_000
    assert with_flow(model, None) is model
    assert with_flow(model, "diffusion") is model
    with pytest.raises(RequestError, match="unknown flow 'oscilation' to sample by; did you mean 'oscillation'"):
        with_flow(model, "oscilation")
    with pytest.raises(RequestError, match="unknown flow 'reflection'"):
        with_flow(model, "reflection")


def test_a_snapshot_becomes_samples_and_a_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HGFCTL_CACHE", str(tmp_path / "cache"))
    PUBLISHED["cond"].write(tmp_path / "snap.pkl", PUBLISHED["cond"].raw())

    def told(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    made = told("convert", "snap.pkl")
    assert (made["output"], made["architecture"], made["classes"]) == ("snap.safetensors", "ddpm++", 10)
    sampled = told("sample", "snap.safetensors", "--nfe", "4", "--num", "4", "--flow", "oscillation", "--device", "cpu")
    assert sampled["flow"] == "oscillation"
    assert sampled["output"] == f"snap-oscillation-{sampled['sampler']}-nfe4-seed0-num4.npz"
    images = np.load(tmp_path / sampled["output"])["images"]
    assert images.shape == (4, 8, 8, 3)
    found = told("eval-fid", "snap.safetensors", "--ref", sampled["output"], "--features", "pixels", "--nfe", "4",
                 "--num", "4", "--flow", "oscillation")  # fmt: skip
    assert found["flow"] == "oscillation"
    assert found["fid"] == pytest.approx(0, abs=1e-6)  # the very same images
    assert not (tmp_path / RAN).exists()
