"""HVP, denoiser, noise and score are one object seen through one linear map (linear flows only).

With D = E[x0 | x_t = x] (denoiser) and Z = E[z | x_t = x] (noise):

    a D + b Z = x,      a' D + b' Z = V,      score = grad log p_t(x) = -Z / b.

The determinant of this system, w = a b' - a' b, is constant in time (1 for diffusion, s for flow matching, alpha s for
oscillation), so from V both D and Z follow without dividing by anything small: V is the regular choice. The ways into
V from D (from Z) divide by b (by a), which vanishes at t = 0 (at t = T).
"""

from torch import Tensor

from hgfctl.engine.flows.linear import LinearFlow, Path


def _path(flow: LinearFlow, x: Tensor, t: Tensor) -> Path:
    return Path(*(part.to(x.dtype) for part in flow.path(t))).over(x)


def hvp_from_denoiser_and_noise(flow: LinearFlow, x: Tensor, t: Tensor, denoised: Tensor, noise: Tensor) -> Tensor:
    """V = a' D + b' Z: no division, finite at both ends. x fixes only the shape."""
    path = _path(flow, x, t)
    return path.da * denoised + path.db * noise


def denoiser_from_hvp(flow: LinearFlow, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
    """D = (b' x - b V) / w, at any time."""
    path = _path(flow, x, t)
    return (path.db * x - path.b * velocity) / path.wronskian


def noise_from_hvp(flow: LinearFlow, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
    """Z = (a V - a' x) / w, at any time."""
    path = _path(flow, x, t)
    return (path.a * velocity - path.da * x) / path.wronskian


def score_from_hvp(flow: LinearFlow, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
    """grad log p_t(x) = -Z / b, for t > 0."""
    return -noise_from_hvp(flow, x, t, velocity) / _path(flow, x, t).b


def hvp_from_denoiser(flow: LinearFlow, x: Tensor, t: Tensor, denoised: Tensor) -> Tensor:
    """V = a' D + b' (x - a D) / b, for t > 0."""
    path = _path(flow, x, t)
    return path.da * denoised + path.db * (x - path.a * denoised) / path.b


def hvp_from_noise(flow: LinearFlow, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """V = a' (x - b Z) / a + b' Z, where a(t) > 0."""
    path = _path(flow, x, t)
    return path.da * (x - path.b * noise) / path.a + path.db * noise


def hvp_from_score(flow: LinearFlow, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
    """V from grad log p_t(x), where a(t) > 0."""
    return hvp_from_noise(flow, x, t, -_path(flow, x, t).b * score)
