"""Averages whose length is chosen after training, against the integrals that define them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hgfctl.config import WIDEST_EMA
from hgfctl.engine.training.power_ema import Profile, combination, keep, misfit, overlap, power, width
from hgfctl.storage import tensor_files
from tests.conftest import Run


@given(sigma_rel=st.floats(0.01, WIDEST_EMA))
def test_power_and_width_are_inverse(sigma_rel: float) -> None:
    assert width(power(sigma_rel)) == pytest.approx(sigma_rel, rel=1e-12)


def test_widths_are_those_of_the_paper() -> None:
    """Karras et al. 2024: sigma_rel 0.05 is gamma 16.97, 0.10 is gamma 6.94."""
    assert power(0.05) == pytest.approx(16.97, abs=0.005)
    assert power(0.10) == pytest.approx(6.94, abs=0.005)
    assert width(0.0) == pytest.approx(WIDEST_EMA)


@given(gamma=st.floats(0.5, 20), other=st.floats(0.5, 20), ends=st.tuples(st.integers(1, 50), st.integers(1, 50)))
def test_overlap_is_the_integral_of_the_product(gamma: float, other: float, ends: tuple[int, int]) -> None:
    t = np.linspace(0, max(ends), 200_001)

    def profile(g: float, end: int) -> np.ndarray:
        return np.where(t <= end, (g + 1) * (t / end) ** g / end, 0)

    product = profile(gamma, ends[0]) * profile(other, ends[1])
    integral = float(product[1:].sum() * t[1])
    assert overlap(Profile(gamma, ends[0]), Profile(other, ends[1])) == pytest.approx(integral, rel=2e-3)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_running_averages_have_the_power_profile(sigma_rel: float) -> None:
    """An average of the numbers 1 ... n by the update tends to their mean under the profile, n (g + 1)/(g + 2)."""
    gamma, average = power(sigma_rel), 0.0
    for step in range(1, 4001):
        average += (1 - keep(gamma, step)) * (step - average)
    assert average == pytest.approx(4000 * (gamma + 1) / (gamma + 2), rel=1e-3)


@pytest.mark.parametrize("sigma_rel", [0.06, 0.08, 0.12, 0.15])
def test_another_length_is_rebuilt_from_snapshots(sigma_rel: float) -> None:
    """A random walk averaged directly, and rebuilt from 20 snapshots of two other lengths."""
    walk = torch.randn(2000, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
    gammas = [power(0.05), power(0.1)]
    wanted, direct = power(sigma_rel), torch.zeros(50, dtype=torch.float64)
    running = [torch.zeros(50, dtype=torch.float64) for _ in gammas]
    profiles, snapshots = [], []
    for step, value in enumerate(walk, 1):
        direct.lerp_(value, 1 - keep(wanted, step))
        for gamma, average in zip(gammas, running, strict=True):
            average.lerp_(value, 1 - keep(gamma, step))
            if step % 100 == 0:
                profiles.append(Profile(gamma, step))
                snapshots.append(average.clone())
    weights = combination(profiles, Profile(wanted, 2000))
    rebuilt = weights @ torch.stack(snapshots)
    assert float((rebuilt - direct).norm() / (walk[-1] - direct).norm()) < 0.02
    assert misfit(profiles, weights, Profile(wanted, 2000)) < 0.05


def test_the_command_rebuilds_a_checkpoint_that_can_be_sampled(hgfctl: Run, tmp_path: Path) -> None:
    tiny = ["--set", "network.width=16", "--set", "train.images=640", "--set", "train.batch=64"]
    emas = ["--set", "train.power_emas=[0.05,0.1]", "--set", "train.save_every=64"]
    run = hgfctl("train", "--preset", "ring-oscillation", *tiny, *emas).stdout.strip()
    facts = json.loads(hgfctl("ema", run, "--sigma-rel", "0.1", "--json").stdout)
    assert (facts["step"], facts["snapshots"]) == (10, 20)
    made, _ = tensor_files.load(tmp_path / facts["checkpoint"])
    snapshot, _ = tensor_files.load(tmp_path / run / "emas" / "step-00000010.safetensors")
    for name, tensor in made.items():
        torch.testing.assert_close(tensor, snapshot.get(f"0.1.{name}", tensor))
    other = hgfctl("ema", run, "--sigma-rel", "0.07", "--step", "8", "--out", "b.safetensors")
    assert other.stdout == "b.safetensors\n"
    assert hgfctl("sample", "b.safetensors", "--num", "3", "--out", "b.npz").returncode == 0
    for words, arguments in {
        "between 0 and 0.289": ["--sigma-rel", "0.4"],
        "no snapshot of step 70": ["--sigma-rel", "0.1", "--step", "70"],
        "ends in .safetensors": ["--sigma-rel", "0.1", "--out", "b.npz"],
    }.items():
        assert words in hgfctl("ema", run, *arguments, status=2).stderr
    plain = hgfctl("train", "--preset", "ring-oscillation", *tiny).stdout.strip()
    assert "holds no snapshots" in hgfctl("ema", plain, "--sigma-rel", "0.1", status=2).stderr
