"""Between two latents on a path that the prior finds likely: an arc, not a chord."""

import torch
from torch import Tensor

from hgfctl.engine.flows.priors.prior import Prior


def interpolated(prior: Prior, start: Tensor, end: Tensor, fractions: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake 1985; White 2016, arXiv 1609.04468) of x_T's, in coordinates where the prior is
    standard normal.

        u(f) = [sin((1 - f) A) u_0 + sin(f A) u_1] / sin A,    A the angle between u_0 and u_1

    A chord of two independent draws in d dimensions comes as near to the origin as sqrt(d/2), where the prior has
    nothing; for A = pi/2, about which such draws are, every u(f) is standard normal. Uniform priors of boxes are mapped
    to normal ones coordinate by coordinate, by their distribution functions. On a sphere the path is the great circle;
    that of rotations is one of their unit quaternions, a turn about one axis.

    Args:
        prior: of the latents.
        start, end: (B, *D).
        fractions: (F,), 0 to be at the start, 1 to be at the end.

    Returns:
        (F, B, *D).

    Raises:
        RequestError: no such coordinates of the prior are known.
    """
    u, v = prior.to_normal(start.double()).flatten(1), prior.to_normal(end.double()).flatten(1)
    v = prior.nearest(u, v)
    cosine = (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1)).clamp_min(1e-300)
    angle = cosine.clamp(-1, 1).acos().clamp(1e-6, torch.pi - 1e-6)
    f = fractions.double().unsqueeze(1)
    weights = torch.stack([((1 - f) * angle).sin(), (f * angle).sin()]) / angle.sin()
    between = weights[0].unsqueeze(-1) * u + weights[1].unsqueeze(-1) * v
    return prior.from_normal(between).reshape(len(fractions), *start.shape)
