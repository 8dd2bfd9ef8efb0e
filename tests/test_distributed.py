"""Several processes: on the CPU, with gloo, as torchrun and `--gpus` start them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hgfctl.storage import tensor_files
from tests.conftest import Run

SMOKE = [
    *("--preset", "cifar10-oscillation-smoke", "--data", "images", "--device", "cpu"),
    *("--set", "network.model_channels=8", "--set", "network.channel_mult=[1,2]", "--set", "network.dropout=0"),
    *("--set", "network.attn_resolutions=[4]", "--set", "data.resolution=8", "--set", "train.batch=16"),
    *("--set", "train.images=96", "--set", "train.save_every=32", "--set", "sample.nfe=2"),
]
ALONE = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
    return tmp_path


def weights(run: str, root: Path, step: int = 6) -> dict[str, torch.Tensor]:
    return tensor_files.load(root / run / "checkpoints" / f"step-{step:08d}.safetensors")[0]


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest difference of two sets of weights, against the largest weight."""
    return max(float((a[name] - b[name]).abs().max()) for name in a) / max(float(p.abs().max()) for p in a.values())


def test_two_processes_make_the_weights_of_one(hgfctl: Run, images: Path) -> None:
    one = hgfctl("train", *SMOKE, env=ALONE).stdout.strip()
    done = hgfctl("train", *SMOKE, "--gpus", "2", "--json", env=ALONE)
    facts = json.loads(done.stdout)  # one process talks
    assert facts["processes"] == 2
    assert facts["step"] == 6
    assert apart(weights(one, images), weights(facts["run"], images)) < 1e-5
    parts = hgfctl("train", *SMOKE, "--set", "train.accumulate=2", env=ALONE).stdout.strip()
    assert apart(weights(one, images), weights(parts, images)) < 1e-5


def test_a_run_goes_on_in_another_number_of_processes(hgfctl: Run, images: Path) -> None:
    whole = hgfctl("train", *SMOKE, env=ALONE).stdout.strip()
    cut = hgfctl("train", *SMOKE, "--set", "train.images=32", env=ALONE).stdout.strip()
    again = hgfctl("train", "--resume", cut, "--set", "train.images=96", "--device", "cpu", "--gpus", "2", env=ALONE)
    assert again.stdout.strip() == cut
    assert apart(weights(whole, images), weights(cut, images)) < 1e-5


def test_samples_do_not_depend_on_the_number_of_processes(hgfctl: Run, images: Path) -> None:
    run = hgfctl("train", *SMOKE, env=ALONE).stdout.strip()
    command = ["sample", "-", "--num", "11", "--batch", "4", "--device", "cpu"]
    hgfctl(*command, "--out", "one.npz", stdin=run, env=ALONE)
    done = hgfctl(*command, "--out", "two.npz", "--gpus", "2", stdin=run, env=ALONE)
    assert done.stdout == "two.npz\n"
    one, two = (np.load(images / name)["images"].astype(int) for name in ("one.npz", "two.npz"))
    assert one.shape == (11, 8, 8, 3)
    assert np.abs(one - two).max() <= 1


def test_torchrun_starts_it_too(images: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "hgfctl", "train", *SMOKE],
        cwd=images,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={**os.environ, **ALONE},
    )
    assert done.stdout == "runs/cifar10-oscillation-smoke-001\n"


def test_a_killed_process_ends_the_job_and_loses_nothing(hgfctl: Run, images: Path) -> None:
    long = [*SMOKE, "--set", "train.images=1_000_000", "--gpus", "2"]
    job = subprocess.Popen(
        [sys.executable, "-m", "hgfctl", "train", *long],
        cwd=images,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ALONE},
    )
    run = images / "runs" / "cifar10-oscillation-smoke-001"
    deadline = time.monotonic() + 200
    while not list(run.glob("checkpoints/*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    children = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    out, said = job.communicate(timeout=60)
    assert job.returncode == 1
    assert out == ""
    assert "was killed (SIGKILL)" in said
    assert "Traceback" not in said
    again = hgfctl("train", *long, "--resume", "auto", "--set", "train.images=16", env=ALONE, status=None)
    assert again.returncode == 0, again.stderr


def test_what_cannot_be_shared_is_refused(hgfctl: Run, images: Path) -> None:
    done = hgfctl("train", *SMOKE, "--set", "train.batch=15", "--gpus", "2", env=ALONE, status=2)
    assert "train.batch=15 cannot be divided over 2 processes" in done.stderr
    assert done.stderr.count("\n") <= 2
    if not torch.cuda.is_available():
        done = hgfctl("train", "--preset", "ring-oscillation", "--gpus", "2", status=2)
        assert "this machine has 0" in done.stderr
