"""Dormand and Prince's embedded pair of orders 5 and 4, with steps that each item of a batch chooses for itself.

k_i = f(y + h sum_j a_ij k_j, t + c_i h); the step is of order 5, h sum_i e_i k_i estimates its error, and a step is
accepted when |error| <= atol + rtol |y| (Hairer, Nørsett, Wanner 1993, sections II.4 and II.5). The last slope of one
step is the first one of the next: six evaluations a step. An item's result does not depend on the batch it is in.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.phase_space import as_times, over
from hgfctl.errors import HgfctlError

ItemDerivative = Callable[[Tensor, Tensor, Tensor], Tensor]
"""dy/dt = f(y, t, items): y (B, n) and times (B,) of the items with these numbers (B,) -> (B, n)."""

Size = Callable[[Tensor], Tensor]
"""The size of a scaled error: (B, n) -> (B,); a step is accepted up to 1."""

A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""Row i weighs slopes 0 ... i - 1; the last row makes the step itself."""
C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
MOST_EVALUATIONS = 20_000
"""Evaluations an item, at most; a derivative with rounding errors above the tolerance would be integrated for ever."""


class Solution(NamedTuple):
    """y at the end (B, n), and how many evaluations each item took (B,), int64, on the CPU."""

    y: Tensor
    evaluations: Tensor


def root_mean_square(error: Tensor) -> Tensor:
    """(B, n) -> (B,)."""
    return error.square().mean(1).sqrt()


def solve(
    derivative: ItemDerivative,
    start: Tensor,
    span: tuple[float, float],
    rtol: float,
    atol: float,
    size: Size = root_mean_square,
) -> Solution:
    """dy/dt = f(y, t) from one end of `span` to the other, forwards or backwards in time.

    Args:
        derivative: f.
        start: y at span[0], (B, n).
        span: times.
        rtol, atol: relative and absolute tolerance of the error of a step.
        size: of an error in units of the tolerance.

    Raises:
        HgfctlError: an item needs more than MOST_EVALUATIONS, or meets a slope that is not finite.
    """
    begin, end = as_times(span[0], start), as_times(span[1], start)
    y, active = start.clone(), torch.arange(len(start), device=start.device)
    t = begin.expand(len(y)).clone()
    slope = derivative(y, t, active)
    if not slope.isfinite().all():
        raise HgfctlError(f"the velocity at t = {span[0]:g} is not finite")
    step = _first_step(y, slope, rtol, atol, (end - begin).abs())
    evaluations = torch.ones_like(active)
    while len(active):
        left = (end - t[active]).abs()
        h = torch.minimum(step[active], left) * (end - begin).sign()
        before = y[active]
        slopes = [slope[active]]
        for row, c in zip(A[1:], C[1:], strict=True):
            stage = before + over(h, before).to(before.dtype) * _combined(row, slopes)
            slopes.append(derivative(stage, t[active] + c * h, active))
        scale = atol + rtol * torch.maximum(before.abs(), stage.abs())
        error = size(over(h, before).to(before.dtype) * _combined(ERROR, slopes) / scale)
        good = error <= 1
        evaluations[active] += len(C) - 1
        step[active] = h.abs() * (SAFETY * error.clamp_min(1e-10) ** -0.2).nan_to_num(SHRINK).clamp(SHRINK, GROW)
        moved = active[good]
        y[moved], slope[moved] = stage[good], slopes[-1][good]
        t[moved] = torch.where(h.abs() >= left, end, t[active] + h)[good]
        active = active[t[active] != end]
        stuck = active[(evaluations[active] > MOST_EVALUATIONS) | (t[active] + step[active] == t[active])]
        if len(stuck):
            raise HgfctlError(
                f"the adaptive solver is still at t = {float(t[stuck[0]]):.3g} after {int(evaluations[stuck[0]]):,} "
                "evaluations; loosen the tolerance, or give a budget by `nfe`"
            )
    return Solution(y, evaluations.cpu())


def _first_step(y: Tensor, slope: Tensor, rtol: float, atol: float, longest: Tensor) -> Tensor:
    """A hundredth of the time in which y would change by its own size (Hairer et al., II.4), (B,)."""
    scale = atol + rtol * y.abs()
    size, speed = root_mean_square(y / scale), root_mean_square(slope / scale)
    return torch.minimum((0.01 * size / speed.clamp_min(1e-30)).clamp_min(1e-6 * longest), longest).to(longest.dtype)


def _combined(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    first, *rest = ((w, k) for w, k in zip(weights, slopes, strict=True) if w)
    total = first[0] * first[1]
    for w, k in rest:
        total = total + w * k
    return total
