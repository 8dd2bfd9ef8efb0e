"""Preconditioning from second moments: one formula for every flow.

With C = second moments of (x_t, v_t) per coordinate,

    c_in = 1 / sqrt(C_xx),   c_skip = C_xv / C_xx,   c_out^2 = C_vv - C_xv^2 / C_xx,
    V(x, t) = c_skip x + c_out N(c_in x, ...),       loss weight 1 / c_out^2 :

the network sees inputs and targets of unit variance and c_skip x is the best linear guess of v_t. For diffusion this
is EDM's preconditioning (Karras et al. 2022, table 1) seen through V = (x - D) / t; for oscillation with s = sd it is
c_in = 1/sd, c_skip = 0, c_out = alpha sd.
"""

from typing import NamedTuple

from torch import Tensor

from hgfctl.engine.flows.flow import Flow


class Preconditioner(NamedTuple):
    """The three coefficients, each of the shape of t."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


def precondition(flow: Flow, t: Tensor) -> Preconditioner:
    """The preconditioner of a flow at times t."""
    moments = flow.moments(t)
    return Preconditioner(moments.xx.rsqrt(), moments.xv / moments.xx, moments.residual.sqrt())
