"""Second moments in phase space, from which the preconditioner follows."""

from typing import NamedTuple

from torch import Tensor


class Moments(NamedTuple):
    """Second moments of (x_t, v_t) a coordinate, x measured from the flow's centre; each of the shape of t.

    A flow that treats each mode of its basis by itself has moments a mode: (B or 1, *D), as modes have.
    `residual` is vv - xv^2 / xx, what the best linear guess of v_t from x_t leaves; a flow knows it without the
    cancellation of that difference, which costs all digits where x_t is nearly noise.
    """

    xx: Tensor
    xv: Tensor
    vv: Tensor
    residual: Tensor
