"""What is kept from the version before: which runs it made, and what was asked of them.

`make` runs these command lines with the old program and keeps what came; `tests/test_legacy.py` runs them with the
program of today. Paths are relative to a folder that holds runs/ and mine.yaml; each run is asked with a copy of its
own.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

HERE = Path(__file__).parent

MINE = """\
description: a preset of a user's, with the sampling keys side by side
extends: ring-oscillation
network:
  width: 12
sample:
  nfe: 30
  sampler: heun
  grid: sigmoid:1.5
  churn: 4
  churn_levels: [0.1, 10]
  churn_noise: 1.01
  tolerance: 1e-4
  restart: 0
  restart_levels: [0.1, 0.4]
  restart_steps: 2
  step: 0.3
  flight: 1.2
  friction: 0.8
"""

_SHORT = "train.images=1600 train.batch=100 train.ramp=0 train.decay=0 train.half_life=200 train.lr=2e-2"
_LOG = "train.log_every=8 train.save_every=1600 train.keep=1"
_MLP = f"network.width=8 network.blocks=1 {_SHORT} {_LOG}"
_SCORE = f"network.width=12 network.depth=1 {_SHORT} {_LOG} sample.nfe=60"
_IMAGES = (
    "train.images=160 train.batch=16 train.ramp=0 train.decay=0 train.half_life=40 train.lr=2e-2 train.save_every=160"
)
_UNET = f"network.model_channels=4 network.channel_mult=[1,2] network.num_blocks=1 {_IMAGES}"
_SMALL = f"network.model_channels=4 network.channel_mult=[1] network.num_blocks=1 {_IMAGES}"

RUNS: dict[str, str] = {
    "oscillation": f"train --preset ring-oscillation {_MLP}",
    "diffusion": f"train --preset ring-diffusion {_MLP} sample.sampler=dopri5 sample.tolerance=1e-3 sample.nfe=200",
    "flow-matching": f"train --preset ring-flow-matching {_MLP} sample.sampler=heun sample.churn=3 sample.nfe=11 "
    "sample.churn_levels=[0.1,20] sample.churn_noise=1.01 sample.grid=rho",
    "moons": f"train --preset moons-oscillation {_MLP} sample.restart=1 sample.restart_levels=[0.1,0.4] "
    "sample.restart_steps=2 sample.sampler=ab3 sample.grid=power:2 flow.alpha=2 network.harmonics=1",
    "reflection": f"train --preset checkerboard-reflection {_MLP} network.harmonics=2",
    "line-reflection": f"train --preset line-reflection {_MLP}",
    "torus": f"train --preset torus-mixture {_MLP} network.harmonics=2",
    "sphere": f"train --preset sphere-checkerboard {_MLP} network.harmonics=2",
    "so3": f"train --preset so3-mixture {_MLP} network.harmonics=1",
    "magnetic": f"train --preset ring-magnetic {_MLP}",
    "formula": f"train --preset ring-oscillation {_MLP} flow.name=designed flow.force=-2*x-v/4 flow.duration=1.3",
    "double-well": f"train --preset ring-double-well {_MLP} flow.steps=16 flow.prior.name=mixture",
    "pendulum": f"train --preset line-pendulum {_MLP} flow.steps=16 flow.prior.name=gaussian flow.replay=4 "
    "flow.integrator=yoshida flow.velocity.name=student-t",
    "duffing": f"train --preset line-double-well {_MLP} flow.force.name=duffing flow.steps=16 flow.prior.name=bank "
    "flow.prior.points=64",
    "power-ema": f"train --preset ring-oscillation {_MLP} train.power_emas=[0.05,0.1] train.save_every=400",
    "consistency": f"train --preset ring-oscillation {_MLP} loss=consistency loss.warm_up=800 train.lr=1e-3 "
    "sample.nfe=2 --init runs/oscillation",
    "hsm": f"score-match --preset gmm-hsm {_SCORE} --times 0.1",
    "galerkin": f"score-match --preset gmm-hsm-galerkin {_SCORE} sample.step=0.2 sample.flight=1.2 --times 0.1",
    "dsm": f"score-match --preset gmm-dsm {_SCORE} model.conservative=true --times 0.1",
    "noised": f"score-match --preset gmm-denoising-hsm network.width=8 network.blocks=1 {_SHORT} {_LOG} "
    "sample.nfe=60 sample.friction=0.8 sample.step=0.4 loss.every=4 --times 0.1 --noise 0.3",
    "guided": f"train --preset digits-oscillation-guided {_SMALL}",
    "learned-force": f"train --preset ring-double-well {_MLP} data=gmm flow.force.name=learned flow.steps=16 "
    "flow.force.checkpoint=runs/hsm flow.prior.name=gaussian",
    "unet": f"train --preset digits-flow-matching {_UNET} augment=geometric network.attn_resolutions=[8] "
    "network.architecture=ncsn++ network.dropout=0.1",
    "coarse-to-fine": f"train --preset digits-coarse-to-fine {_SMALL}",
    "dit": f"train --preset digits-diffusion {_IMAGES} network.name=dit network.width=8 network.depth=1 "
    "network.heads=2",
    "edm2": f"train --preset digits-oscillation {_IMAGES} network.name=edm2 network.model_channels=8 "
    "network.channel_mult=[1] network.num_blocks=1 network.attn_resolutions=[] train.lr=5e-2",
}
"""Name -> a command, what is set, and further options. A word key=value goes with --set."""

RESUMED = {
    "oscillation": 3200,
    "double-well": 3200,
    "power-ema": 3200,
    "consistency": 3200,
    "hsm": 3200,
    "noised": 3200,
    "guided": 320,
}
"""Run -> how many images it goes on to; it keeps its state."""

_SOLVERS = (
    "euler heun rk4 ab2 ab3 ab4 abm2 abm3 ddim dpm++2m dpm++3m unipc2 unipc3 ipndm4 deis3 "
    "angle-ab2 angle-ab3 angle-ab4 angle-abm2 angle-abm3 angle-unipc2 angle-unipc3"
)
_GRIDS = (
    "uniform cosine trimmed-cosine power:3 square-root quadratic rho rho:5 sigmoid sigmoid:2.5,1.5 log-snr "
    "log-snr:0.01 optimized"
)
_ELSEWHERE = ["", "--nfe 9 --seed 5", "--sampler heun --nfe 10 --grid cosine", "--sampler ab3 --grid power:2 --nfe 8"]

SAMPLES: dict[str, list[str]] = {
    "oscillation": [
        "",
        "--seed 7",
        "--batch 3",
        "--precision fp64",
        *(f"--sampler {name} --nfe 12" for name in _SOLVERS.split()),
        *(f"--grid {name} --nfe 6 --sampler heun" for name in _GRIDS.split()),
        "--nfe 6 --sampler heun",
        "--flow diffusion --nfe 9",
        "--flow flow-matching --nfe 9 --sampler heun --grid sigmoid:1.5",
        "--sampler heun --churn 5 --nfe 15",
        "--sampler ab2 --restart 2 --nfe 24",
        "--sampler dopri5 --tolerance 1e-3 --nfe 300",
        "--set sample.sampler=dopri5 --set sample.tolerance=1e-2 --nfe 300",
        "--set sample.nfe=15 --set sample.sampler=heun --set sample.churn=2 --set sample.churn_levels=[0.1,5]",
        "--set sample.restart=1 --set sample.restart_levels=[0.1,0.4] --set sample.restart_steps=4 --nfe 20",
        "--nfe 8 --guidance 1.5 --guide runs/oscillation",
    ],
    "diffusion": [*_ELSEWHERE[2:], "", "--tolerance 1e-2", "--sampler auto --nfe 9", "--sampler dpm++2m --nfe 8"],
    "flow-matching": ["", "--nfe 9 --seed 5", "--churn 0 --sampler ab4", "--flow oscillation --churn 0"],
    "moons": ["", "--restart 0", "--restart 2 --nfe 40", "--sampler heun --grid auto"],
    "reflection": _ELSEWHERE,
    "line-reflection": _ELSEWHERE,
    "torus": _ELSEWHERE,
    "sphere": _ELSEWHERE,
    "so3": _ELSEWHERE,
    "magnetic": _ELSEWHERE,
    "formula": _ELSEWHERE,
    "double-well": _ELSEWHERE,
    "pendulum": _ELSEWHERE,
    "duffing": _ELSEWHERE,
    "learned-force": _ELSEWHERE[:2],
    "power-ema": ["", "--nfe 9 --seed 5"],
    "consistency": ["", "--nfe 1", "--nfe 4 --grid cosine --seed 3"],
    "hsm": ["", "--nfe 30 --seed 5", "--set sample.step=0.3 --set sample.flight=1"],
    "galerkin": ["", "--sampler hmc --nfe 40"],
    "dsm": [""],
    "noised": ["", "--sampler langevin --nfe 40 --seed 2", "--sampler ab4 --nfe 8", "--set sample.friction=2",
               "--sampler heun --nfe 9 --churn 2", "--set sample.step=0.2"],
    "guided": [
        "",
        "--classes 3,5 --nfe 6",
        "--classes 8 --nfe 8 --guidance 2",
        "--nfe 8 --guidance 1.5 --guidance-interval 0.1,5",
        "--nfe 8 --guidance 3 --guide runs/guided --classes 0,1",
        "--flow flow-matching --nfe 6 --sampler heun",
        "--nfe 9 --sampler heun --churn 3",
    ],
    "unet": ["", "--classes 2,7 --nfe 6", "--nfe 9 --sampler heun --churn 3"],
    "coarse-to-fine": ["", "--sampler heun --grid uniform --nfe 6"],
    "dit": ["--nfe 8"],
    "edm2": ["--nfe 8"],
}  # fmt: skip
"""Run -> options of `hgfctl sample`, four items each."""

OTHERS: dict[str, list[str]] = {
    "oscillation": [
        "sample runs/oscillation --nfe 6 --num 5",
        "sample runs/oscillation --nfe 6 --num 5 --out points.npz",
        "likelihood runs/oscillation --num 20",
        "likelihood runs/oscillation --num 20 --nfe 40 --sampler heun --grid cosine --trace hutchinson --out nats.npz",
        "latents encode runs/oscillation --num 6 --out z.npz",
        "latents decode runs/oscillation z.npz --out x.npz",
        "latents inpaint runs/oscillation --mask first-half --num 4 --nfe 20 --repeats 4 --out filled.npz",
        "eval-fid runs/oscillation --features none --num 200 --nfe 8",
        "eval-fid runs/oscillation --features none --num 100 --nfe 4,8",
        "eval-fid measure runs/oscillation --features none --num 100 --nfe 6 --sampler heun --set sample.churn=2",
        "score-match --evaluate runs/oscillation --noise 0.3 --times 0.1",
        "visualize samples points.npz",
        "visualize trajectories runs/oscillation --nfe 3 --num 20",
        "visualize interpolation runs/oscillation --steps 3 --nfe 8 --out between.png",
        "visualize run runs/oscillation --out run.png",
        "visualize score runs/oscillation --noise 0.3 --out score.png",
    ],
    "diffusion": ["likelihood runs/diffusion ring-diffusion --num 10 --rtol 1e-4 --atol 1e-4"],
    "reflection": [
        "likelihood runs/reflection --num 10",
        "latents encode runs/reflection --num 6 --nfe 8 --sampler heun --out z.npz",
        "latents decode runs/reflection z.npz --nfe 8 --out x.npz",
        "eval-fid runs/reflection --features none --num 100 --nfe 8",
    ],
    "torus": ["likelihood runs/torus --num 10", "eval-fid runs/torus --features none --num 100 --nfe 8"],
    "sphere": ["likelihood runs/sphere --num 10", "eval-fid runs/sphere --features none --num 100 --nfe 8"],
    "so3": ["eval-fid runs/so3 --features none --num 100 --nfe 8"],
    "magnetic": ["likelihood runs/magnetic --num 10"],
    "double-well": ["likelihood runs/double-well --num 10", "latents encode runs/double-well --num 6 --out z.npz"],
    "power-ema": [
        "ema runs/power-ema --sigma-rel 0.08",
        "ema runs/power-ema --sigma-rel 0.12 --step 12 --out short.safetensors",
        "sample short.safetensors --num 4 --out x.npz",
    ],
    "hsm": [
        "score-match --evaluate runs/hsm --times 0.1",
        "visualize score runs/hsm --out score.png",
    ],
    "noised": ["score-match --evaluate runs/noised --noise 0.2,1 --times 0.1"],
    "guided": [
        "sample runs/guided --num 12 --nfe 6 --out images.npz",
        "sample runs/guided --num 6 --nfe 6 --out pictures --guidance 2",
        "sample runs/guided --num 6 --nfe 6 --out picture.png",
        "likelihood runs/guided --num 4 --nfe 12 --probes 1",
        "likelihood runs/guided --num 4 --nfe 12 --probes 2 --dequantise normal",
        "latents encode runs/guided --num 4 --nfe 12 --out z.npz",
        "latents decode runs/guided z.npz --nfe 12 --out x.npz",
        "latents inpaint runs/guided --num 4 --nfe 12 --repeats 3 --out filled.npz",
        "eval-fid images.npz --ref digits --features random",
        "eval-fid runs/guided --ref digits --features pixels --num 24 --nfe 4,5",
        "eval-fid stats images.npz --features random --out stats.npz",
        "eval-fid pictures --ref stats.npz",
        "data prepare images.npz --out images.zip",
        "data inspect images.zip --out sheet.png",
        "visualize samples runs/guided --num 6 --nfe 5 --guidance 2 --out grid.png",
        "visualize interpolation runs/guided --steps 3 --nfe 5 --class 3 --out between.png",
    ],
    "snapshots": [
        "convert vp.pkl",
        "sample vp.safetensors --num 4 --nfe 8 --classes 1,2 --out x.npz",
        "convert edm.pkl --out weights.safetensors",
        "sample weights.safetensors --num 4 --nfe 8 --flow oscillation --out x.npz",
    ],
    "none": [
        "train --preset ring-oscillation --set network.width=8 --set train.images=1000 --dry-run",
        "score-match --preset gmm-dsm --compare dsm,ssm-vr --set train.images=2048 --set network.width=8 --times 0.1",
        "visualize force line-pendulum --num 100",
        "visualize phase-space line-oscillation --num 200",
        "visualize reflection --num 1000",
    ],
}
"""Run -> other commands, in turn, in one folder; two groups need no run."""

VOLATILE = {
    "seconds",
    "images_per_second",
    "memory_gib",
    "memory_gib_by_batch",
    "peak_gib",
    "config",
    "device",
    "warnings",
}
"""Keys of JSON output whose values differ from machine to machine, are shown elsewhere, or are prose."""

_ON_A_DEVICE = (
    *("train", "sample", "score-match", "likelihood", "latents", "eval-fid"),
    *("visualize samples", "visualize trajectories", "visualize interpolation", "visualize score"),
)


def trained_by(name: str) -> list[str]:
    """The arguments that make a run."""
    words = [word for part in RUNS[name].split() for word in _said(part)]
    return [*words, "--device", "cpu", "--json"]


def resumed_by(name: str) -> list[str]:
    """The arguments with which a run goes on."""
    command = RUNS[name].split()[0]
    more = ["--times", "0.1"] if command == "score-match" else []
    images = f"train.images={RESUMED[name]}"
    return [command, "--resume", f"runs/{name}", "--set", images, *more, "--device", "cpu", "--json"]


def _said(word: str) -> list[str]:
    return ["--set", word] if "=" in word and not word.startswith("-") else [word]


def sampled_by(run: str, options: str) -> list[str]:
    """The arguments that sample a run into out.npz."""
    return ["sample", f"runs/{run}", *options.split(), "--num", "4", "--out", "out.npz", "--device", "cpu", "--json"]


def told_by(command: str) -> list[str]:
    """The arguments of one of the other commands."""
    on = ["--device", "cpu"] if command.startswith(_ON_A_DEVICE) else []
    return [*command.split(), *on, "--json"]


def keeps_arrays(command: str, said: Mapping[str, Any]) -> bool:
    """Whether a command has written items that are to be compared: not the many numbers of features."""
    return str(said.get("output", "")).endswith(".npz") and not command.startswith(("eval-fid", "likelihood"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """What an .npz holds, but for the seeds."""
    with np.load(path) as found:
        return {name: found[name] for name in found.files if name != "seeds"}


def fingerprint() -> str:
    """The SHA-256 of some arithmetic of torch's alone, which tells apart machines that round differently."""
    x = torch.linspace(-2, 2, 96).reshape(4, 24)
    y = (x.T @ x / 7).reshape(1, 4, 12, 12)
    parts: list[Any] = [x.sin(), x.exp(), functional.silu(x), x @ x.T, x.double() @ x.double().T, x.double().cos()]
    parts += [functional.conv2d(y, y[0, :, :9, :9].reshape(9, 4, 3, 3)), torch.linalg.cholesky(x @ x.T + torch.eye(4))]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()


def machine() -> dict[str, str]:
    """What has to agree before results are compared bit for bit."""
    return {
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "fingerprint": fingerprint(),
    }


def lasting(facts: Any) -> Any:
    """JSON output with null in place of what is `VOLATILE`, and paths as seen from the working folder."""
    if isinstance(facts, Mapping):
        return {key: None if key in VOLATILE else lasting(part) for key, part in facts.items()}
    if isinstance(facts, str):
        return facts.replace(f"{Path.cwd().resolve()}/", "")
    return [lasting(part) for part in facts] if isinstance(facts, list) else facts


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
