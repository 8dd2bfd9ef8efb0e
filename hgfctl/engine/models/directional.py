"""Derivatives of a network's output along a direction, by forward-mode differentiation: one pass, no memory of it."""

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def derivative_along(
    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, t: Tensor, dx: Tensor, dt: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """f(x, t) and its derivative (df/dx) dx + (df/dt) dt, where function(x, t) is f(x, t) and something besides.

    Attention is computed by its plain formula: fused kernels have no forward-mode derivative.

    Args:
        function: (B, *D), (B,) -> f, besides.
        x, t: where.
        dx, dt: in which direction, of the same shapes.

    Returns:
        f, its derivative, and what function gives besides.
    """
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's formulas, when first asked for, load by torch.jit
        return torch.func.jvp(function, (x, t), (dx, dt), has_aux=True)  # type: ignore[return-value]


def bare(network: nn.Module) -> nn.Module:
    """Without what training may wrap around it, such as compiled code: no such derivative goes through that."""
    for wrapping in ("module", "_orig_mod"):
        network = cast(nn.Module, getattr(network, wrapping, network))
    return network
