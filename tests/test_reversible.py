"""The reversible adjoint against autograd, and what it says when it cannot be right."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hgfctl.engine.integrators import INTEGRATORS, reversible
from hgfctl.engine.phase_space import State, over
from hgfctl.errors import HgfctlError


class Field(nn.Module):
    """A smooth force that depends on time and on weights."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)).double()
        self.scale = scale
        self.calls = 0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return -x + self.scale * over(torch.cos(t), x) * self.layers(x)


def gradients(field: Field, name: str, times: Tensor, adjoint: bool) -> list[Tensor]:
    torch.manual_seed(1)
    start = State(*(part.requires_grad_() for part in torch.randn(2, 20, 2, dtype=torch.float64)))
    parameters = list(field.parameters())
    if adjoint:
        end = reversible.integrate(INTEGRATORS[name], field, start, times, parameters)
    else:
        end = INTEGRATORS[name].integrate(field, start, times)
    value = (end.x**3).sum() + (end.x * end.v).sum()
    return [value.detach(), *torch.autograd.grad(value, [*parameters, *start])]


@given(steps=st.integers(1, 20), end=st.floats(-3, 3), name=st.sampled_from(["leapfrog", "yoshida"]), own=st.booleans())
def test_it_agrees_with_autograd(steps: int, end: float, name: str, own: bool) -> None:
    times = torch.linspace(0.1, 0.1 + end, steps + 1, dtype=torch.float64)
    if own:
        times = times.unsqueeze(1) * torch.linspace(0.3, 1, 20, dtype=torch.float64)
    field = Field()
    for a, b in zip(gradients(field, name, times, True), gradients(field, name, times, False), strict=True):
        assert float((a - b).abs().max()) <= 1e-11 * max(1.0, float(b.abs().max()))


def test_a_hundred_steps_to_the_last_digits() -> None:
    """The issue asks for 1e-10."""
    times = torch.linspace(0, 5, 101, dtype=torch.float64)
    field = Field()
    for a, b in zip(gradients(field, "leapfrog", times, True), gradients(field, "leapfrog", times, False), strict=True):
        assert float((a - b).abs().max()) <= 1e-13 * float(b.abs().max())


def test_times_of_each_items_own_are_those_of_separate_flights() -> None:
    ends = torch.linspace(0.3, 1, 5, dtype=torch.float64)
    clock = torch.linspace(0, 1, 9, dtype=torch.float64)
    x, v = torch.randn(2, 5, 2, dtype=torch.float64)
    field = Field()
    with torch.no_grad():
        together = INTEGRATORS["leapfrog"].integrate(field, State(x, v), clock.unsqueeze(1) * ends)
        for i, end in enumerate(ends):
            alone = INTEGRATORS["leapfrog"].integrate(field, State(x[i : i + 1], v[i : i + 1]), clock * end)
            torch.testing.assert_close(together.x[i : i + 1], alone.x, rtol=1e-14, atol=1e-14)
            torch.testing.assert_close(together.v[i : i + 1], alone.v, rtol=1e-14, atol=1e-14)


def test_a_kick_costs_one_evaluation_each_way() -> None:
    field = Field()
    gradients(field, "leapfrog", torch.linspace(0, 1, 11, dtype=torch.float64), True)
    assert field.calls == 11 + 11


def test_only_what_wants_a_gradient_gets_one() -> None:
    field, x = Field(), torch.randn(4, 2, dtype=torch.float64)
    frozen, *others = field.parameters()
    frozen.requires_grad_(False)
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    end = reversible.integrate(INTEGRATORS["leapfrog"], field, State(x, x), times, list(field.parameters()))
    end.x.square().sum().backward()
    assert frozen.grad is None
    assert all(p.grad is not None and bool(p.grad.any()) for p in others)
    assert x.grad is None


def test_memory_does_not_grow_with_the_steps() -> None:
    """What autograd keeps, counted exactly: the tensors saved for the backward pass."""

    def saved(steps: int, adjoint: bool) -> int:
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        field = Field()
        start = State(*torch.randn(2, 64, 2, dtype=torch.float64))
        times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            if adjoint:
                end = reversible.integrate(INTEGRATORS["leapfrog"], field, start, times, list(field.parameters()))
            else:
                end = INTEGRATORS["leapfrog"].integrate(field, start, times)
        del end
        return sum(kept.values())

    assert saved(100, True) == saved(10, True)
    assert saved(100, False) > 20 * saved(100, True)


def test_a_force_too_stiff_to_walk_back_is_said() -> None:
    def repel(x: Tensor, t: Tensor) -> Tensor:
        return 400 * x

    start = State(*(part.requires_grad_() for part in torch.randn(2, 5, 2, dtype=torch.float64)))
    times = torch.linspace(0, 3, 61, dtype=torch.float64)
    end = reversible.integrate(INTEGRATORS["leapfrog"], repel, start, times)
    with pytest.raises(HgfctlError, match=r"(?s)misses the start's . by .*adjoint=autograd"):
        end.x.sum().backward()
