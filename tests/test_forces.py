"""Forces: potentials, momenta, formulas, user code, watched flights, and the report of what a force does."""

import json
import math
import os
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.experiment import experiment, flow_of
from hgfctl.engine.expressions import FUNCTIONS, ExpressionError, parse
from hgfctl.engine.figures.force import verdict
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.forces import FORCES
from hgfctl.engine.flows.forces.affine import Affine, affine
from hgfctl.engine.flows.forces.checked import checked
from hgfctl.engine.flows.forces.choose import ForceContext, chosen
from hgfctl.engine.flows.forces.expression import ExpressionForce
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.forces.none import NoForce
from hgfctl.engine.integrators import INTEGRATORS, runge_kutta
from hgfctl.engine.metrics.force_derivatives import EXACT, PROBES, derivatives
from hgfctl.engine.metrics.force_flights import lyapunov, potential_of
from hgfctl.engine.metrics.force_report import MOMENTS, ForceReport, force_report
from hgfctl.engine.parts import data_of
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.engine.training.session import Session
from hgfctl.engine.training.trainer import Trainer
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.presets import load
from hgfctl.storage.runs import Run as RunFolder
from tests.conftest import Run

NOW = torch.tensor(0.3, dtype=torch.float64)
CONSERVATIVE = [
    {"name": "duffing", "alpha": 1.3, "beta": 0.7},
    {"name": "pendulum", "alpha": 2.0},
    {"name": "double-well", "a": 1.5, "b": 0.5},
    {"name": "particles", "kind": "coulomb", "strength": 0.8, "trap": 0.5},
    {"name": "particles", "kind": "gravity", "dims": 3, "softening": 0.2},
]


def points(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=generator("points", seed), dtype=torch.float64)


@pytest.mark.parametrize("written", CONSERVATIVE, ids=lambda w: "-".join(map(str, w.values())))
def test_a_force_is_the_slope_of_its_potential(written: dict[str, Any]) -> None:
    force = chosen(written, ForceContext((6,)))
    x = points(40, 6).requires_grad_()
    (slope,) = torch.autograd.grad(force.potential(x).sum(), x)
    assert torch.allclose(force(x, x, NOW), -slope, atol=1e-12, rtol=1e-12)
    assert not force.depends_on_velocity


@pytest.mark.parametrize("kind", ["coulomb", "gravity"])
def test_particles_keep_their_momentum_and_fly_apart_or_together(kind: str) -> None:
    force = chosen({"name": "particles", "kind": kind, "dims": 3}, ForceContext((4, 3)))
    x, v = points(5, 4, 3), points(5, 4, 3, seed=1)
    assert force(x, v, NOW).sum(1).abs().max() < 1e-12
    end = INTEGRATORS["leapfrog"].integrate(
        lambda x, t: force(x, x, t), State(x, v), torch.linspace(0, 2, 201, dtype=torch.float64)
    )
    assert (end.v.sum(1) - v.sum(1)).abs().max() < 1e-11
    pair = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]], dtype=torch.float64)
    outwards = float(force(pair, pair, NOW)[0, 1, 0])
    assert outwards == pytest.approx((1 if kind == "coulomb" else -1) * 1.01**-1.5, abs=1e-15)


def test_dims_divides_the_items() -> None:
    for shape, dims in (((5,), 2), ((2,), 2), ((4,), 3)):
        with pytest.raises(RequestError, match="dims must divide"):
            chosen({"name": "particles", "dims": dims}, ForceContext(shape))


def test_a_learned_force_is_the_field_it_was_given() -> None:
    read: list[str] = []

    def load(path: str) -> Callable[[Tensor, Tensor | None], Tensor]:
        read.append(path)
        return lambda x, labels: -2 * x

    force = chosen({"name": "learned", "checkpoint": "runs/ring-hsm-1"}, ForceContext((2,), load_score=load))
    assert read == ["runs/ring-hsm-1"]
    assert torch.equal(force(points(3, 2), points(3, 2), NOW), -2 * points(3, 2))


# Formulas.

OPERATORS: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "sin": math.sin,
    "tanh": math.tanh,
    "abs": abs,
    "min": min,
    "max": max,
}


def formulas() -> st.SearchStrategy[str]:
    """With parentheses where Python needs them, and without where it does not."""
    leaves = st.sampled_from(["x", "v", "t", "pi", "2", "0.5", "1e-1", ".25", "3."])

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("{} {} {}".format, inner, st.sampled_from(["+", "-", "*"]), inner),
            st.builds("({})".format, inner),
            st.builds("-{}".format, inner),
            st.builds("+{}".format, inner),
            st.builds("({})/({}+3)".format, inner, st.just("abs(x)")),
            st.builds("{}**2".format, leaves),
            st.builds("-{}**{}**2".format, leaves, st.sampled_from(["2", "(1)"])),
            st.builds("2**-{}".format, leaves),
            st.builds("{}({})".format, st.sampled_from(["sin", "tanh", "abs"]), inner),
            st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        )

    return st.recursive(leaves, grown, max_leaves=12)


@given(formulas(), st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 2))
def test_formulas_mean_what_they_mean_in_python(text: str, x: float, v: float, t: float) -> None:
    names = {"x": x, "v": v, "t": t, "pi": math.pi, **{name: OPERATORS[name] for name in OPERATORS if name.isalpha()}}
    try:
        wanted = eval(text, {"__builtins__": {}}, names)  # the oracle, on texts that this file made
        force = ExpressionForce(text.replace("**", "^") if len(text) % 2 else text)
    except OverflowError:
        return  # of floats; tensors have infinity
    x_, v_ = (torch.full((1, 2), value, dtype=torch.float64) for value in (x, v))
    got = force(x_, v_, torch.tensor(t, dtype=torch.float64))
    assert got.shape == (1, 2)
    assert got[0].tolist() == pytest.approx([wanted, wanted], rel=1e-9, abs=1e-9)


HOSTILE = [
    *("__import__('os').system('touch HACKED')", "().__class__.__bases__", "x.__class__", "(lambda: x)()"),
    *("[x for x in x]", "{x}", "open('f')", "eval(x)", "exec", "x; x", "x\0", "x\n\n", "x if x else v", "'x'*9"),
    *("9**9**9**9**9", "1e400", "(" * 5000, "(" * 900, "-" * 999, "x" + "^x" * 400, "x" + "+x" * 499, "x[99999999999]"),
    *("\u202ex", "ⅹ", "x²", "٣", "x[", "x[]", "x[x]", "sin", "sin()", "min(x)", "norm(norm)", "", " ", "\t"),
    *("0x10", "1_000", "1e", "1e+", "..", "x=1", "x" * 2000),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_formulas_are_refused_or_harmless(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        chosen({"name": "expression", "text": text}, ForceContext((2,)))(points(1, 2), points(1, 2), NOW)
    except ExpressionError as error:
        message, shown, caret = str(error).split("\n")
        assert caret.strip() == "^"
        assert len(shown) < 130
        assert message.isprintable()
    assert not os.listdir(tmp_path)


@given(st.text(max_size=40) | st.text("xvt+-*/^()[]., 0123456789esin", max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    with suppress(ExpressionError):
        parse(text, ("x", "v", "t"), ("x", "v"))


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("-x + y", "unknown name 'y'; known: pi, t, v, x", 5),
        ("-x + 0.1*sine(x)", "unknown function 'sine'; did you mean 'sin'?", 9),
        ("-x.data", "'.': attributes are not allowed in a formula", 2),
        ("x + lambda", "'lambda': code is not allowed", 4),
        ("(lambda: 1)", "'lambda': code is not allowed", 1),
        ("x < 1", "'<': comparisons and assignments are not allowed", 2),
        ("2 x", "an operator is missing before 'x'", 2),
        ("sin(x", "')' is missing after the arguments of sin", 5),
        ("x + 1/0", "this is inf, not a number", 5),
        ("sin + x", "sin is a function: write sin(...)", 0),
        ("cos(x, v)", "cos takes one argument, not 2", 0),
        ("t[0]", "t is a number and has no coordinates", 1),
        ("x +", "and the formula ends", 3),
    ],
)
def test_errors_have_a_caret_under_the_place(text: str, said: str, column: int) -> None:
    with pytest.raises(ExpressionError) as refused:
        ExpressionForce(text)
    message, shown, caret = str(refused.value).split("\n")
    assert said in message
    assert shown == "  " + text
    assert caret == " " * (2 + column) + "^"


def test_formulas_know_what_they_depend_on() -> None:
    assert not ExpressionForce("-x").depends_on_velocity
    assert ExpressionForce("-x - 0.1*v").depends_on_velocity
    assert ExpressionForce("-x*cos(t)").depends_on_time
    assert not ExpressionForce("-x").depends_on_time


def test_coordinates_norms_and_lists() -> None:
    x, v = points(7, 2), points(7, 2, seed=1)
    turned = chosen(["x[1]", "-x[0] + v[1]*t"], ForceContext((2,)))
    assert torch.allclose(turned(x, v, NOW), torch.stack([x[:, 1], -x[:, 0] + 0.3 * v[:, 1]], 1), atol=1e-15)
    central = chosen("-x/norm(x)^3 + mean(v)", ForceContext((2,)))
    wanted = -x / x.norm(dim=1, keepdim=True) ** 3 + v.mean(1, keepdim=True)
    assert torch.allclose(central(x, v, NOW), wanted, rtol=1e-13)
    assert torch.equal(
        chosen(["1", "norm(x)"], ForceContext((2,)))(x, v, NOW)[:, 0], torch.ones(7, dtype=torch.float64)
    )
    images = points(3, 1, 4, 4)
    assert torch.equal(ExpressionForce("x[5]")(images, images, NOW)[:, 0, 2, 3], images[:, 0, 1, 1])
    each = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert torch.equal(ExpressionForce("t")(images, images, each)[:, 0, 0, 0], each)


def test_lists_and_indices_fit_the_items() -> None:
    for written, said in (
        (["x[0]"], "1 formulas for items of shape"),
        (["x", "1"], "has a value for each coordinate"),
        (["x[2]", "1"], "coordinates 0 to 1"),
        ("x[7]", "coordinates 0 to 1"),
    ):
        with pytest.raises(RequestError, match=said):
            chosen(written, ForceContext((2,)))


def test_gradients_flow_through_formulas() -> None:
    x = points(3, 2).requires_grad_()
    force = ExpressionForce("-x^3 + 0.5*norm(x)*sin(t)")
    assert torch.autograd.gradcheck(lambda x: force(x, x, NOW), x)


def test_a_formula_keeps_the_type_of_its_items() -> None:
    x = points(3, 2).float()
    assert ExpressionForce("min(x, 0.5)*t + pi")(x, x, torch.full((3,), 0.3, dtype=torch.float64)).dtype == x.dtype


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("-4*x - 0.1*v", (0, -4, -0.1)),
        ("1 + 2*(x - v)/4 - -x", (1, 1.5, -0.5)),
        ("pi", (math.pi, 0, 0)),
        ("x^1 * sin(0.5)", (0, math.sin(0.5), 0)),
        ("(x - x)*x", (0, 0, 0)),
        *((text, None) for text in ("x*x", "sin(x)", "t*x", "x[0]", "1/x", "norm(x)", "2^x", "x/(x-x)", "x^2")),
        ("1e300*(1e300*x)", None),
    ],
)  # fmt: skip
def test_affine_formulas_are_known(text: str, wanted: tuple[float, float, float] | None) -> None:
    found = affine(ExpressionForce(text))
    assert found == (None if wanted is None else Affine(*wanted))


@given(formulas())
def test_what_is_called_affine_is(text: str) -> None:
    try:
        force = ExpressionForce(text)
    except ExpressionError:
        return
    found = affine(force)
    if found:
        x, v = points(5, 2), points(5, 2, seed=1)
        assert torch.allclose(force(x, v, NOW), found.c + found.kx * x + found.kv * v, rtol=1e-9, atol=1e-9)


def test_constants_of_a_formula() -> None:
    force = chosen({"name": "-omega^2*x", "constants": {"omega": 2}}, ForceContext((1,)))
    assert affine(force) == Affine(0, -4)
    with pytest.raises(RequestError, match="x is what the force acts on"):
        chosen({"name": "-x", "constants": {"x": 2}}, ForceContext((1,)))


def test_every_function_of_the_grammar_has_a_meaning() -> None:
    x = points(4, 2).abs() / 4
    for name, (fewest, _) in FUNCTIONS.items():
        text = f"{name}({', '.join(['x'] * fewest)})"
        assert ExpressionForce(text)(x, x, NOW).isfinite().all(), name


# What a preset may say.


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("duffin", "unknown force 'duffin'; did you mean 'duffing'? known: "),
        ({"name": "duffing", "betta": 2}, "unknown option 'force.betta' of duffing; did you mean 'force.beta'?"),
        ({"name": "double-well", "a": -1}, "force double-well: a must be positive and finite, not -1"),
        ({"beta": 2}, "a mapping with a 'name' is needed"),
        (None, "is needed, not None"),
        (True, "is needed, not True"),
        ({"name": "learned", "checkpoint": "run"}, "nothing here can read run"),
    ],
)
def test_what_is_no_force(written: Any, said: str) -> None:
    with pytest.raises(RequestError) as refused:
        chosen(written, ForceContext((2,)))
    assert said in str(refused.value)


def test_a_word_may_be_a_formula() -> None:
    x = points(2, 2)
    assert torch.equal(chosen("x", ForceContext((2,)))(x, x, NOW), x)
    assert torch.equal(chosen("x-v", ForceContext((2,)))(x, 2 * x, NOW), -x)
    assert torch.equal(chosen(0, ForceContext((2,)))(x, x, NOW), 0 * x)
    assert set(FORCES) >= {"duffing", "expression", "learned", "none", "particles", "pendulum", "double-well"}


# User code.

SWING = """
from pathlib import Path

import torch

from hgfctl.engine.flows.forces.force import Force

Path("imported").touch()


class Swing(Force):
    def __init__(self, length: float = 1.0, shape: tuple[int, ...] = ()):
        if length <= 0:
            raise ValueError("length must be positive")
        self.length, self.shape = length, shape

    def __call__(self, x, v, t):
        return -torch.sin(x) / self.length


class Untyped(Force):
    def __init__(self, k=1.0):
        self.k = k

    def __call__(self, x, v, t):
        return -self.k * x


class Unfinished(Force):
    pass


def still(x, t):
    return 0 * x


def damped(x, v, t):
    return -x - 0.1 * v


def odd(x, v):
    return x


ready = Swing(4.0)
number = 3
"""


@pytest.fixture
def swing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh module in the current folder."""
    name = f"swing_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SWING)
    monkeypatch.chdir(tmp_path)
    return name


def test_nothing_is_imported_unless_allowed(swing: str) -> None:
    with pytest.raises(RequestError, match=f"force '{swing}:Swing' names code of its own; `allow_code` runs it"):
        chosen(f"{swing}:Swing", ForceContext((2,)))
    assert not Path("imported").exists()


def test_user_code_is_a_class_an_instance_or_a_function(swing: str) -> None:
    allowed = ForceContext((2,), allow_code=True)
    x, v = points(3, 2), points(3, 2, seed=1)
    made = chosen({"name": f"{swing}:Swing", "length": 2}, allowed)
    assert torch.equal(made(x, v, NOW), -torch.sin(x) / 2)
    assert made.shape == (2,)
    assert torch.equal(chosen(f"{swing}:ready", allowed)(x, v, NOW), -torch.sin(x) / 4)
    assert torch.equal(chosen({"name": f"{swing}:Untyped", "k": 3.0}, allowed)(x, v, NOW), -3 * x)
    still, damped = chosen(f"{swing}:still", allowed), chosen(f"{swing}:damped", allowed)
    assert not still.depends_on_velocity
    assert torch.equal(still(x, v, NOW), 0 * x)
    assert damped.depends_on_velocity
    assert torch.equal(damped(x, v, NOW), -x - 0.1 * v)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}:Swong", "has no Swong; it has Swing, "),
        ("{}:number", "is of type int; a subclass of"),
        ("{}:odd", "is a function of (x, v); write it as F(x, t) or F(x, v, t)"),
        ("{}:Unfinished", "is not finished: define __call__"),
        ("no_such_module:F", "there is no module no_such_module, nor a file no_such_module.py here"),
        ("broken:F", "importing it failed: SyntaxError"),
        ("needs:F", "importing it failed: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("leaves:F", "importing it failed: SystemExit"),
        ({"name": "{}:Swing", "length": -1}, "length must be positive"),
        ({"name": "{}:Swing", "lenght": 1}, "did you mean 'force.length'"),
        ({"name": "{}:still", "k": 1}, "only those have options"),
    ],
)
def test_what_is_wrong_with_user_code(swing: str, written: Any, said: str) -> None:
    Path("broken.py").write_text("def F(:\n")
    Path("needs.py").write_text("import nothing_like_this\n")
    Path("leaves.py").write_text("raise SystemExit\n")
    given = {**written, "name": written["name"].format(swing)} if isinstance(written, dict) else written.format(swing)
    with pytest.raises(RequestError) as refused:
        chosen(given, ForceContext((2,), allow_code=True))
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


# Watched flights.


class _Function(Force):
    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        self.function = function

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self.function(x, v, t)


def test_a_watched_force_is_the_same() -> None:
    force = chosen("duffing", ForceContext((2,)))
    watched = checked(force)
    assert torch.equal(watched(points(3, 2), points(3, 2), NOW), force(points(3, 2), points(3, 2), NOW))
    assert checked(watched) is watched
    assert checked(ExpressionForce("-v")).depends_on_velocity


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, v, t: x[:, :1], "changes shape: from x of (3, 2) it makes (3, 1)"),
        (lambda x, v, t: 1.0, "gives a float in place of a tensor of shape (3, 2)"),
        (lambda x, v, t: x / 0 * 0, "the force is NaN at t = 0.3, where |x| is"),
        (lambda x, v, t: torch.where(x == x[1, 0], math.inf, x), "is infinity at t = 0.3, where |x| is"),
        (lambda x, v, t: x @ x, "the force fails at t = 0.3: RuntimeError: mat1 and mat2"),
    ],
)
def test_a_force_that_goes_wrong_is_stopped(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(RequestError) as stopped:
        checked(_Function(function))(points(3, 2), points(3, 2), NOW)
    assert said in str(stopped.value)


def test_a_flight_that_diverges_says_when_and_where() -> None:
    """x'' = x^3 from v = x^2 / sqrt(2) is x0 / (1 - x0 t / sqrt(2)): infinite at t = sqrt(2) / x0."""
    force = checked(ExpressionForce("x^3"))
    x0 = torch.tensor([[0.1], [2.0]], dtype=torch.float64)
    times = torch.linspace(0, 3, 3001, dtype=torch.float64)
    with pytest.raises(HgfctlError, match=r"the flight diverges: \|x\| reaches .* at t = ") as stopped:
        INTEGRATORS["leapfrog"].integrate(lambda x, t: force(x, x, t), State(x0, x0**2 / math.sqrt(2)), times)
    when = float(str(stopped.value).split("t = ")[1].split(";")[0])
    assert when == pytest.approx(math.sqrt(2) / 2, abs=0.02)


def test_each_item_has_a_time_of_its_own() -> None:
    force = checked(_Function(lambda x, v, t: torch.where(x > 5, math.nan, x)))
    with pytest.raises(RequestError, match=r"NaN at t = 0.7, where \|x\| is 6 \(1 of 3 items\)"):
        force(torch.tensor([[1.0], [2.0], [6.0]]), torch.ones(3, 1), torch.tensor([0.1, 0.2, 0.7]))


# What a force does.


@dataclass(frozen=True)
class Forced(Diffusion):
    """v0 ~ N(0, I), and a force; states by Runge-Kutta."""

    under: Force = field(default_factory=NoForce)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self.under(x, v, t)

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        y, steps = torch.stack([x0, z]), 50
        for i in range(steps):
            y = runge_kutta.step(self._derivative, y, t * i / steps, t / steps, runge_kutta.RK4)
        return State(*y)

    def _derivative(self, y: Tensor, t: Tensor) -> Tensor:
        return torch.stack([y[1], self.under(y[0], y[1], t)])


def report(written: Any, T: float = 3.0, *shape: int) -> ForceReport:
    force = chosen(written, ForceContext(shape or (2,)))
    return force_report(Forced(sigma_max=T, under=force), points(128, *(shape or (2,))))


@pytest.mark.parametrize("k", [0.7, 2.0])
def test_neighbours_part_as_the_inverted_oscillator_says(k: float) -> None:
    start = State(points(20, 2), points(20, 2, seed=1))
    found = lyapunov(ExpressionForce(f"{k}^2*x"), start, 10 / k, 400)
    assert found.exponent == pytest.approx(k, rel=1e-4)
    assert found.spread < 1e-3 * k


def test_neighbours_part_from_a_saddle_and_not_from_a_valley() -> None:
    well = chosen({"name": "double-well", "a": 2.25, "b": 1.0}, ForceContext((1,)))
    still = torch.zeros(8, 1, dtype=torch.float64)
    assert lyapunov(well, State(still, still), 10, 500).exponent == pytest.approx(1.5, rel=1e-3)
    assert abs(lyapunov(well, State(still + 1.5, still), 200, 4000).exponent) < 0.01


def test_neighbours_of_oscillators_stay_neighbours() -> None:
    found = lyapunov(ExpressionForce("-4*x"), State(points(20, 2), points(20, 2, seed=1)), 20, 2000, units=(1.0, 2.0))
    assert abs(found.exponent) < 1e-6
    assert found.spread < 1e-6


def test_neighbours_on_two_springs_with_a_curl() -> None:
    """x'' = J x with eigenvalues -1 +- i of J: the fastest growth is the real part of sqrt(-1 + i)."""
    force = chosen(["x[1] - x[0]", "-x[0] - x[1]"], ForceContext((2,)))
    found = lyapunov(force, State(points(10, 2), points(10, 2, seed=1)), 30, 1500)
    assert found.exponent == pytest.approx(((2**0.5 - 1) / 2) ** 0.5, rel=1e-4)


def test_flights_of_neighbours_end_where_they_diverge() -> None:
    found = lyapunov(ExpressionForce("x^3"), State(points(10, 1) + 3, points(10, 1)), 10, 1000)
    assert 0 < found.duration < 1


def test_the_report_of_an_oscillator() -> None:
    found = report("-x")
    assert found.conservative
    assert found.exact
    assert found.curl < 1e-12
    assert found.log_volume == 0
    assert found.stiffness == pytest.approx([1.0] * MOMENTS)
    assert found.step == pytest.approx(0.2)
    assert abs(found.lyapunov.exponent) < 2e-3
    assert found.drift is not None
    assert found.drift.order == pytest.approx(2, abs=0.02)
    assert found.memory[0] == pytest.approx(1)


def test_the_report_of_a_magnetic_force() -> None:
    """It keeps energy and volume, and is no gradient."""
    found = report(["1.5*v[1] - x[0]", "-1.5*v[0] - x[1]"])
    assert found.depends_on_velocity
    assert not found.works
    assert found.keeps_energy
    assert not found.conservative
    assert found.log_volume == pytest.approx(0, abs=1e-12)
    assert found.drift is not None
    assert found.drift.relative < 1e-4
    assert verdict(found) == "not conservative, for it depends on v, but energy is kept"


def test_the_report_of_friction() -> None:
    found = report("-x - 0.3*v")
    assert found.works
    assert found.drift is None
    assert found.log_volume == pytest.approx(-0.3 * 2 * 3)
    assert verdict(found) == "not conservative: work that depends on v"


def test_the_report_of_a_curl_and_of_a_chirp() -> None:
    turn = report(["x[1] - x[0]", "-x[0] - x[1]"])
    assert turn.curl == pytest.approx(2**-0.5)
    assert not turn.conservative
    chirp = report("-x*(1 + t)")
    assert chirp.depends_on_time
    assert chirp.is_gradient
    assert not chirp.conservative
    assert chirp.stiffness == pytest.approx([1 + 3 * i / (MOMENTS - 1) for i in range(MOMENTS)])


@pytest.mark.parametrize("shape", [(3,), (1, 5, 5)], ids=["exact", "probes"])
def test_derivatives_of_a_known_matrix(shape: tuple[int, ...]) -> None:
    """F = A x + B v: curl, trace and largest singular value of matrices that are drawn."""
    count = math.prod(shape)
    a, b = points(count, count), points(count, count, seed=1)
    a = a + a.T + 0.3 * torch.eye(count) + (0 if count < EXACT else 0.5 * (a - a.T))

    def force(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return (x.flatten(1) @ a.T + v.flatten(1) @ b.T).reshape(x.shape)

    found = derivatives(force, points(400, *shape), points(400, *shape, seed=2), NOW)
    curl = float((a - a.T).norm() / a.norm()) / 2
    assert found.exact == (count <= EXACT)
    assert found.curl == pytest.approx(curl, rel=0.05, abs=1e-9)  # 6,400 pairs of probes: 1 % standard error
    spread = 0 if found.exact else 4 * float((b + b.T).norm()) / (2 * 400 * PROBES) ** 0.5
    assert found.divergence == pytest.approx(float(b.trace()), abs=spread + 1e-9)
    if found.exact:
        assert found.stiffness == pytest.approx(float(torch.linalg.matrix_norm(a, 2)))


def test_a_force_that_cannot_be_differentiated_is_told() -> None:
    with pytest.raises(RequestError, match="cannot be differentiated"):
        derivatives(lambda x, v, t: -x.detach(), points(5, 2), points(5, 2), NOW)


@pytest.mark.parametrize("written", CONSERVATIVE, ids=lambda w: "-".join(map(str, w.values())))
def test_the_potential_of_a_force_by_quadrature(written: dict[str, Any]) -> None:
    force = chosen(written, ForceContext((6,)))
    x, origin = points(20, 6), torch.zeros(1, 6, dtype=torch.float64)
    assert torch.allclose(potential_of(force, x)(x), force.potential(x) - force.potential(origin), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("written", "T"), [("pendulum", 4.0), ({"name": "particles", "softening": 0.5, "dims": 1}, 2.0)]
)
def test_energy_drifts_at_second_order_under_leapfrog(written: Any, T: float) -> None:
    drift = report(written, T).drift
    assert drift is not None
    assert drift.order == pytest.approx(2, abs=0.1)
    assert drift.change[0] == 0


def test_mixing_ends_at_the_floor() -> None:
    """Draws of N(0, I) in a harmonic trap are where they started, at every time; in free flight they are not."""
    trapped, free = report("-x"), report("none", 20.0)
    assert max(trapped.distance) < 0.3
    assert free.distance[0] > 1
    assert free.distance[-1] < 0.3
    assert trapped.scale < 1.2
    assert free.scale > 10


def test_visualize_force_draws_and_tells(inside: Run, tmp_path: Path) -> None:
    done = inside("visualize", "force", "ring-oscillation", "--num", "200", "--json")
    facts = json.loads(done.stdout)
    assert facts["files"] == ["force.png"]
    assert facts["conservative"] is True
    assert facts["drift"]["order"] == pytest.approx(2, abs=0.01)
    assert (tmp_path / "force.png").read_bytes().startswith(b"\x89PNG")
    assert "force       conservative" in done.stderr
    for arguments, said in (
        (("gmm-hsm",), "is of a score, which has no flow of its own"),
        (("ring-oscillation", "--out", "force"), "name a file that ends in .png"),
        (("ring-oscilation",), "did you mean 'ring-oscillation'"),
        (("ring-oscillation", "--set", DESIGNED.format("swing:Swing")), "--allow-code runs it"),
        (("ring-oscillation", "--set", DESIGNED.format("-x + y")), "unknown name 'y'; known: pi, t, v, x\n  -x + y\n"),
        (("ring-oscillation", "--set", DESIGNED.format("x^3")[:-1] + ", duration: 9}"), "the flight diverges: |x|"),
    ):
        done = inside("visualize", "force", *arguments, "--num", "100", status=2)
        assert said in done.stderr
        assert done.stdout == ""


DESIGNED = 'flow={{name: designed, force: "{}"}}'
SMALL = ("--set", "train.images=512", "--set", "train.batch=256", "--set", "train.sample_every=10000")


def test_user_code_is_trained_with_and_sampled_without(inside: Run, swing: str) -> None:
    told = ("train", "--preset", "ring-oscillation", *SMALL, "--set", DESIGNED.format(f"{swing}:Swing"))
    refused = inside(*told, status=2)
    assert "--allow-code runs it" in refused.stderr
    assert not Path("imported").exists()
    assert not Path("runs").exists()
    run = inside(*told, "--allow-code").stdout.strip()
    assert Path("imported").exists()
    Path(f"{swing}.py").unlink()
    inside("sample", run, "--num", "4", "--nfe", "5", "--out", "samples.npz")
    assert Path("samples.npz").exists()


def test_a_trained_score_is_a_force(inside: Run, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "gmm-dsm")
    session = Session(Trainer(experiment(load("gmm-dsm", SMALL[1:4:2]), torch.device("cpu"))), run)
    list(session.events(stop=lambda: False))
    learned = f"{{name: learned, checkpoint: {run.checkpoints()[-1]}}}"
    settings = (f"flow={{name: designed, force: {learned}, duration: 0.5, prior: gaussian}}", "data=gmm")
    told = (word for setting in settings for word in ("--set", setting))
    facts = json.loads(inside("visualize", "force", "ring-oscillation", *told, "--num", "100", "--json").stdout)
    assert facts["curl"] > 0  # of a free field, trained for two steps
    field = read_checkpoint(run.checkpoints()[-1], torch.device("cpu")).score()
    config = load("ring-oscillation", settings)
    x = points(5, 2)
    assert torch.allclose(flow_of(config, data_of(config)).force(x, x, NOW), field(x, None))


def test_the_readme_shows_a_force_of_ones_own(inside: Run, tmp_path: Path) -> None:
    """The README's very snippet: less than 20 lines, drawn as printed, and trained for two steps."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (snippet,) = (code for code in re.findall(r"```python\n(.*?)```", readme, re.S) if "class Swing(" in code)
    assert snippet.strip().count("\n") < 20
    (tmp_path / "swing.py").write_text(snippet)
    commands = [line for line in readme.splitlines() if line.startswith("hgfctl") and "swing:Swing" in line]
    assert len(commands) == 2
    for command in commands:
        _, *arguments = shlex.split(command)
        small = ["--set", "train.images=2048", "--set", "network.width=8", "--set", "flow.prior=gaussian"]
        inside(*arguments, *(["--num", "100"] if arguments[0] == "visualize" else small))
    assert (tmp_path / "force.png").exists()
    assert (tmp_path / "runs" / "ring-oscillation-001").exists()
