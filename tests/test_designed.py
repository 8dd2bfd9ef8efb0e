"""Designed flows: closed forms against integration, simulation against closed forms, states flown ahead."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import Tensor

from hgfctl import presets
from hgfctl.engine.data.mixture import ring
from hgfctl.engine.experiment import experiment, flow_of
from hgfctl.engine.flows.basis import Cosines, Pairs
from hgfctl.engine.flows.design import designed
from hgfctl.engine.flows.designed import Designed
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.forces.choose import ForceContext
from hgfctl.engine.flows.forces.linear_force import oscillator
from hgfctl.engine.flows.linear_motion import LinearMotion
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.preconditioning import precondition
from hgfctl.engine.flows.simulated import Simulated
from hgfctl.engine.losses.loss import Share
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.engine.training.states_ahead import StatesAhead, needs_flights
from hgfctl.engine.training.trainer import Trainer
from hgfctl.errors import RequestError

IMAGE = (1, 2, 4)
K = [[-1, 0.3, 0, 0], [0.2, -2, 0, 0.5], [0, 0, 0.4, 0], [0, 0.1, 0, -3]]
G = [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, -0.5, 0.2], [0, 0, 0, 0.1]]
LINEAR: dict[str, tuple[tuple[int, ...], Any]] = {
    "none": ((4,), "none"),
    "one frequency": ((4,), {"name": "harmonic", "alpha": 1.3}),
    "a frequency a coordinate": ((4,), {"name": "harmonic", "alpha": [1, 2, 0, 2.5]}),
    "a frequency a spatial frequency": (IMAGE, {"name": "harmonic", "alpha": 0.5, "finest": 2}),
    "underdamped": ((4,), {"name": "damped", "alpha": 2, "gamma": 1}),
    "critically damped": ((4,), {"name": "damped", "alpha": 1, "gamma": 2}),
    "overdamped": (IMAGE, {"name": "damped", "alpha": 1, "gamma": 5}),
    "friction alone": ((4,), {"name": "damped", "alpha": 0, "gamma": 1}),
    "magnetic": ((4,), {"name": "magnetic", "omega": 3}),
    "magnetic in a trap": (IMAGE, {"name": "magnetic", "omega": -3, "alpha": 0.7}),
    "matrices": ((4,), {"name": "linear", "position": K, "velocity": G}),
    "chirped": ((4,), {"name": "chirped", "frequency": "1 + t^2"}),
    "chirped wave": (IMAGE, {"name": "chirped", "frequency": "2 + sin(4*t)"}),
    "coarse to fine": (IMAGE, {"name": "coarse-to-fine", "ratio": 3}),
    "fine to coarse": ((4,), {"name": "coarse-to-fine", "ratio": 0.4}),
    "formula": ((4,), "-2*x - v/4"),
    "unstable formula": ((4,), "x"),
}


def build(shape: tuple[int, ...], force: Any, **options: Any) -> Any:
    return designed(ForceContext(shape), sd=0.5, force=force, **options)


@pytest.fixture(params=LINEAR)
def linear(request: pytest.FixtureRequest) -> LinearMotion:
    flow = build(*LINEAR[request.param], duration=1.1)
    assert isinstance(flow, LinearMotion)
    return flow


def draws(shape: tuple[int, ...], count: int = 3) -> tuple[Tensor, Tensor]:
    return tuple(torch.randn(count, *shape, generator=generator(i), dtype=torch.float64) for i in range(2))  # type: ignore[return-value]


def integrated(flow: Designed, start: State, t: float) -> State:
    """By an eighth-order method at a tolerance of 1e-12, from the force alone."""
    shape = start.x.shape

    def derivative(t: float, y: Any) -> Any:
        x, v = torch.from_numpy(y).reshape(2, *shape)
        return torch.stack([v, flow.force(x, v, torch.tensor(t, dtype=torch.float64))]).flatten().numpy()

    y = torch.stack(start).flatten().numpy()
    done = solve_ivp(derivative, (0, t), y, method="DOP853", rtol=1e-12, atol=1e-13)
    return State(*torch.from_numpy(done.y[:, -1]).reshape(2, *shape))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_closed_forms_equal_an_integration(linear: LinearMotion, share: float) -> None:
    x0, z = draws(linear.shape)
    t = share * linear.T
    found = linear.state(x0, z, torch.tensor(t, dtype=torch.float64))
    expected = integrated(linear, State(x0, linear.velocity_law(x0, z)), t)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(st.floats(-9, 9), st.floats(-6, 6), st.floats(0, 2))
def test_an_oscillators_motion_is_the_matrix_exponential(k: float, g: float, t: float) -> None:
    motion = oscillator(k, g, torch.tensor(t, dtype=torch.float64))
    expected = torch.linalg.matrix_exp(t * torch.tensor([[0, 1], [-k, -g]], dtype=torch.float64))
    torch.testing.assert_close(torch.stack(motion).reshape(2, 2), expected, rtol=1e-9, atol=1e-9)


def test_an_aimed_velocity_lands_on_the_prior(linear: LinearMotion) -> None:
    x0, z = draws(linear.shape)
    end = linear.state(x0, z, torch.tensor(linear.T, dtype=torch.float64)).x
    torch.testing.assert_close(end, 0.5 * z, rtol=0, atol=1e-12 * float(linear.velocity_law(x0, z).abs().max() + 1))
    assert linear.prior.sample((2, *linear.shape), generator(0)).shape == (2, *linear.shape)
    assert not linear.measures


def test_moments_are_those_of_gaussian_data(linear: LinearMotion) -> None:
    """E[v | x] = c_skip x, and what it leaves has variance c_out^2: for uncorrelated data of one variance."""
    x0, z = draws(linear.shape, 100_000)
    t = torch.tensor(0.6 * linear.T, dtype=torch.float64)
    x, v = linear.state(0.5 * x0, z, t)
    c_in, c_skip, c_out = precondition(linear, t)
    x, v = linear.basis.modes(x), linear.basis.modes(v)
    rest = (v - c_skip * x) / c_out

    def mean(product: Tensor) -> Tensor:
        """Of all coordinates together where moments are their means, else of each."""
        return product.mean() if c_in.ndim < 2 else product.mean(0)

    unit = 2.0 if x.is_complex() else 1.0
    tolerance = 5 * unit * 2 / math.sqrt(len(x0))
    assert float((mean((c_in * x).abs().square()) - unit).abs().max()) < tolerance
    assert float((mean(rest.abs().square()) - unit).abs().max()) < tolerance
    assert float(mean(rest * (c_in * x).conj()).abs().max()) < tolerance


@pytest.mark.parametrize(
    ("force", "duration", "known"),
    [("none", 1.0, FlowMatching()), ("-x", math.pi / 2, Oscillation()), ("-4*x", math.pi / 4, Oscillation(alpha=2))],
)
def test_known_flows_are_special_cases(force: str, duration: float, known: Flow) -> None:
    flow = build((3,), force, duration=duration)
    x0, z = draws((3,), 7)
    t = torch.linspace(0, duration, 7, dtype=torch.float64)
    torch.testing.assert_close(flow.state(x0, z, t), known.state(x0, z, t), rtol=0, atol=1e-12)
    inner = t[1:-1]
    for found, expected in zip(flow.moments(inner), known.moments(inner)):
        torch.testing.assert_close(found.expand(5, 3), expected.unsqueeze(1).expand(5, 3), rtol=1e-9, atol=1e-12)


def test_a_magnetic_field_keeps_speed_and_forgets_nothing() -> None:
    """Free circles: |v| is kept, and x0 remembered, so the prior of a Gaussian v0 is fitted."""
    flow = build((2,), {"name": "magnetic", "omega": 2}, velocity="gaussian", duration=1.0)
    x0, z = draws((2,), 50)
    speeds = [flow.state(x0, z, torch.tensor(t, dtype=torch.float64)).v.norm(dim=1) for t in (0.0, 0.4, 1.0)]
    torch.testing.assert_close(speeds[0], speeds[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(speeds[0], speeds[2], rtol=1e-12, atol=0)
    assert flow.measures
    quarter = build((2,), {"name": "harmonic", "alpha": 2}, velocity={"name": "gaussian", "sd": 3})
    assert not quarter.measures
    assert float(quarter.prior.sd) == pytest.approx(1.5, abs=1e-12)


def test_a_duration_at_which_all_velocities_meet_is_refused() -> None:
    with pytest.raises(RequestError, match="no velocity at the start can steer"):
        build((2,), {"name": "harmonic", "alpha": 2}, duration=math.pi / 2)


@pytest.mark.parametrize("shape", [(5,), (1, 4, 6), (3, 8, 8)])
def test_cosine_modes_are_scipys(shape: tuple[int, ...]) -> None:
    x, _ = draws(shape)
    axes = (2, 3) if len(shape) == 3 else (1,)
    expected = torch.from_numpy(scipy.fft.dctn(x.numpy(), axes=axes, norm="ortho"))
    torch.testing.assert_close(Cosines().modes(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(Cosines().items(Cosines().modes(x)), x, rtol=1e-12, atol=1e-12)
    frequencies = Cosines.frequencies(shape)
    assert frequencies.shape == shape
    assert (float(frequencies.min()), float(frequencies.max())) == pytest.approx((0, 1))


def test_pairs_are_complex_numbers_and_back() -> None:
    x, _ = draws((1, 2, 3))
    pairs = Pairs((1, 2, 3))
    torch.testing.assert_close(pairs.items(pairs.modes(x)), x, rtol=0, atol=0)
    with pytest.raises(ValueError, match="odd number"):
        Pairs((3,))


def simulated(force: Any = "-sin(x)", shape: tuple[int, ...] = (3,), **options: Any) -> Simulated:
    flow = build(shape, force, **{"duration": 2.0, "steps": 200, **options})
    assert isinstance(flow, Simulated)
    return flow


@pytest.mark.parametrize(
    ("force", "integrator", "order"),
    [("-sin(x)", "leapfrog", 2), ("-sin(x)", "yoshida", 4), ("-sin(x) + cos(t) - v/2", "rk4", 4)],
)
def test_simulation_converges_to_an_integration(force: str, integrator: str, order: int) -> None:
    x0, z = draws((3,))
    exact = simulated(force, integrator=integrator)
    expected = integrated(exact, State(x0, exact.velocity_law(x0, z)), 1.7)
    errors = []
    for steps in (20, 40):
        flow = simulated(force, integrator=integrator, steps=steps)
        found = flow.state(x0, z, torch.tensor(1.7, dtype=torch.float64))
        errors.append(float((found.x - expected.x).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.4)


@pytest.mark.parametrize("force", ["-sin(x)", "-sin(x) - 0.3*v*abs(v)"])
def test_looks_on_the_way_are_the_states_at_those_times(force: str) -> None:
    flow = simulated(force)
    x0, z = draws((3,), 6)
    t = 2 * torch.rand(6, 5, generator=generator(3), dtype=torch.float64)
    t[0, 0], t[1, 1] = 0.0, 2.0
    found = flow.states(x0, z, t)
    for k in range(5):
        torch.testing.assert_close(State(found.x[:, k], found.v[:, k]), flow.state(x0, z, t[:, k]), rtol=0, atol=2e-4)
    torch.testing.assert_close(found.x[0, 0], x0[0], rtol=0, atol=0)


def test_a_simulated_flow_measures_its_moments_and_prior() -> None:
    """Against the oscillator's closed form, which a formula that is not seen to be linear hides."""
    flow = simulated("-x + 0*sin(x)", (2,), duration=math.pi / 2, velocity={"name": "gaussian", "sd": 0.5})
    data = ring()
    found = flow.measured(data.batch(0, 8192, 0).x.double())
    assert found.report is not None
    assert found.report.fits
    t = torch.linspace(0, math.pi / 2, 5, dtype=torch.float64)
    for one, other in zip(found.moments(t)[:3], Oscillation(sd=data.root_mean_square(), s=0.5).moments(t)[:3]):
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)
    again = flow.restored({name: part.clone() for name, part in found.tensors().items()})
    torch.testing.assert_close(again.moments(t), found.moments(t), rtol=0, atol=0)
    drawn = (whole.prior.sample((9, 2), generator(1)) for whole in (found, again))
    torch.testing.assert_close(*drawn, rtol=0, atol=0)


def parts(**changes: str) -> Any:
    small = {"train.batch": "16", "network.width": "8", "flow.steps": "64", "flow.prior": "gaussian"}
    settings = [f"{key}={value}" for key, value in {**small, **changes}.items()]
    config = presets.load("ring-pendulum", ["flow.replay=4", *settings])
    return experiment(config, torch.device("cpu"))


def test_states_ahead_do_not_depend_on_how_the_batch_is_shared_out() -> None:
    made = parts()
    assert needs_flights(made)
    whole = StatesAhead(made, Share(0, 16), 16, torch.device("cpu"))
    half = StatesAhead(made, Share(8, 16), 8, torch.device("cpu"))
    for step in (0, 5, whole.steps + 3):
        for one, other in zip(whole.at(step).states[:3], half.at(step).states[:3]):
            torch.testing.assert_close(one[8:], other, rtol=0, atol=0)
    torch.testing.assert_close(StatesAhead(made, Share(0, 16), 16, torch.device("cpu")).at(5), whole.at(5))


def test_states_ahead_are_those_of_the_flow() -> None:
    """Each look lies on a flight that starts at an item with a velocity of the law: flown back, it gets there."""
    made = parts()
    assert isinstance(made.model, HVP)
    flow = made.model.flow
    ahead = StatesAhead(made, Share(0, 16), 16, torch.device("cpu"))
    times, starts = [], []
    for step in range(ahead.steps):
        x, v, t, _ = ahead.at(step).states
        back = State(x.double(), -v.double())
        start = simulated({"name": "pendulum", "alpha": 1.5}, (2,), steps=400, duration=3).flights.to(back, t).x
        times.append(t)
        starts.append(start)
    places = torch.stack(starts, 1)  # (B, steps, 2): each start is met `replay` times in its row
    nearest = torch.cdist(places, places).sort(-1).values[..., 1:4]
    assert float(nearest.max()) < 5e-3
    radius = places.norm(dim=-1)
    assert 0.5 < float(radius.min()) < float(radius.max()) < 0.95  # on the ring
    t = torch.stack(times)
    assert flow.T * 0.8 < float(t.max()) <= flow.T
    assert float(t.min()) >= 0


def test_training_on_a_simulated_flow_resumes_bit_for_bit() -> None:
    """In the middle of a round, with the batch in two parts."""
    straight, first, second = (Trainer(parts(**{"train.accumulate": "2"})) for _ in range(3))
    for _ in range(7):
        straight.advance()
    for _ in range(3):
        first.advance()
    model = first.model
    assert isinstance(model, HVP)
    second.restore({name: part.clone() for name, part in first.state().items()}, 3, model.flow.tensors())
    for _ in range(4):
        second.advance()
    for name, part in straight.state().items():
        torch.testing.assert_close(second.state()[name], part, rtol=0, atol=0, msg=name)


TINY = ["--set", "train.images=640", "--set", "train.batch=64", "--set", "network.width=16", "--set", "flow.steps=16"]
TINY += ["--set", "flow.prior=gaussian"]


def test_a_force_of_ones_own_trains_with_permission_and_samples_without(
    tmp_path: Path, inside: Callable[..., Any]
) -> None:
    (tmp_path / "hill.py").write_text("import torch\n\n\ndef force(x, t):\n    return -torch.tanh(x)\n")
    settings = [*TINY, "--set", "flow.force=hill:force"]
    refused = inside("train", "--preset", "ring-pendulum", *settings, status=2)
    assert "--allow-code" in refused.stderr
    assert not (tmp_path / "runs").exists()
    run = inside("train", "--preset", "ring-pendulum", *settings, "--allow-code")
    assert "fresh trajectories" in run.stderr
    (tmp_path / "hill.py").unlink()
    sampled = json.loads(inside("sample", run.stdout.strip(), "--num", "5", "--nfe", "5", "--json").stdout)
    assert sampled["num"] == 5
    resumed = inside("train", "--resume", run.stdout.strip(), "--set", "train.images=1280", status=2)
    assert "--allow-code" in resumed.stderr


@pytest.mark.parametrize(
    ("force", "said"),
    [
        ("-x + 0.1*sine(x)", ["sine", "           ^"]),
        ("-x + y", ["'y'", "     ^"]),
        ("pendulumm", ["did you mean 'pendulum'?"]),
        ("100*x^3", ["diverges", "|x| reaches", "t ="]),
        ("sqrt(x)", ["NaN", "t ="]),
        ("{name: magnetic, omega: fast}", ["force.omega", "'fast'"]),
        ("{name: harmonic, alpha: [1, 2, 3]}", ["3 frequencies for items of 2 coordinates"]),
        ("{name: chirped, frequency: x}", ["in t alone"]),
        ("{name: chirped, frequency: 1/t}", ["not smooth"]),
    ],
)
def test_a_bad_force_is_refused_before_anything_is_written(
    force: str, said: list[str], tmp_path: Path, inside: Callable[..., Any]
) -> None:
    changes = [*TINY, "--set", "flow={name: designed, duration: 3}", "--set", f"flow.force={force}"]
    refused = inside("train", "--preset", "ring-pendulum", *changes, status=2)
    for part in said:
        assert part in refused.stderr
    assert len(refused.stderr.splitlines()) <= 3
    assert not (tmp_path / "runs").exists()


def test_images_train_and_sample_coarse_to_fine(tmp_path: Path, inside: Callable[..., Any]) -> None:
    small = ["--set", "train.images=128", "--set", "network.model_channels=8", "--json"]
    facts = json.loads(inside("train", "--preset", "digits-coarse-to-fine", *small).stdout)
    sampled = json.loads(inside("sample", facts["run"], "--num", "4", "--nfe", "8", "--json").stdout)
    assert sampled["shape"] == [1, 8, 8]
    assert "needs a linear flow" in inside("sample", facts["run"], "--sampler", "ddim", status=2).stderr


def test_parts_of_a_flow_are_set_like_components() -> None:
    config = presets.load("ring-pendulum", ["flow.force=duffing", "flow.force.beta=2", "flow.velocity.sd=3"])
    assert config.flow is not None
    assert config.flow.options["force"] == {"name": "duffing", "beta": 2}
    assert config.flow.options["velocity"] == {"name": "gaussian", "sd": 3}
    flow = flow_of(config, ring())
    assert flow.prior.log_prob(torch.zeros(1, 2, dtype=torch.float64)).isfinite()


def test_no_patch_is_in_both_splits() -> None:
    from hgfctl.engine.data.patches import patches

    train, held_out = patches().all().x, patches("held-out").all().x
    assert train.shape[1:] == held_out.shape[1:] == (1, 16, 16)
    assert patches(channels=3, size=8).shape == (3, 8, 8)
    # Every 16 x 16 square of a photograph is its own: none of the training's is among those held out.
    seen = {part.numpy().tobytes() for part in train}
    assert not seen & {part.numpy().tobytes() for part in held_out}


def test_formulas_of_coordinates_have_closed_forms() -> None:
    flow = build((2,), ["x[1] - v[0]/2", "-x[0]"], duration=1.1)
    assert isinstance(flow, LinearMotion)
    x0, z = draws((2,))
    found = flow.state(x0, z, torch.tensor(1.1, dtype=torch.float64))
    expected = integrated(flow, State(x0, flow.velocity_law(x0, z)), 1.1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for text in ("x[0]*x[1]", "x[0] + 1", "t*x[0]", "norm(x)"):
        assert isinstance(build((2,), [text, "0"], velocity="gaussian"), Simulated)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"force": "4*x", "duration": 12.0}, "carries neighbours apart by a factor of 1"),
        ({"force": "-sin(x)", "steps": 10**9}, "steps must be 1 to 100,000"),
        ({"force": "-sin(x)", "replay": 0}, "replay must be 1 to 1,024"),
        ({"force": {"name": "coarse-to-fine"}, "duration": 0.0}, "duration"),
    ],
)
def test_what_cannot_be_computed_with_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        designed(ForceContext((2,)), **options)


def test_a_flow_that_shrinks_to_a_point_has_no_prior() -> None:
    flow = build((2,), {"name": "damped", "alpha": 3, "gamma": 6}, velocity="gaussian", duration=20.0)
    assert flow.exact_prior is None
    with pytest.raises(RequestError, match="shrinks to a point"):
        flow.measured(ring().batch(0, 512, 0).x)


def test_a_linear_force_of_ones_own_is_simulated_and_sampled_without_its_code(
    tmp_path: Path, inside: Callable[..., Any]
) -> None:
    code = (
        "from hgfctl.engine.flows.forces.damped import Damped\n\n\n"
        "class Mine(Damped):\n    pass\n\n\n"
        "calls = 0\n\n\n"
        "def tired(x, t):\n    global calls\n    calls += 1\n    return -x if calls < 400 else 1 / 0\n"
    )
    (tmp_path / "own.py").write_text(code)
    run = inside("train", "--preset", "ring-double-well", *TINY, "--allow-code", "--set", "flow.force=own:Mine")
    failed = inside(
        "train", "--preset", "ring-double-well", *TINY, "--allow-code", "--set", "flow.force=own:tired", status=1
    )
    assert "the force fails at t =" in failed.stderr
    assert "no checkpoint was written before" in failed.stderr
    (tmp_path / "own.py").unlink()
    assert inside("sample", run.stdout.strip(), "--num", "5", "--nfe", "5").returncode == 0


def test_measuring_in_parts_is_measuring_the_whole() -> None:
    flow = simulated("-sin(x)", (3,), steps=16)
    x0 = 0.5 * draws((3,), 600)[0]
    whole = flow.measured(x0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hgfctl.engine.flows.simulated.AT_ONCE", 3 * 7)
        parts = flow.measured(x0)
    assert whole.table is not None
    torch.testing.assert_close(parts.table, whole.table, rtol=1e-12, atol=1e-12)
    for one, other in zip(whole.tensors().values(), parts.tensors().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
