"""Between two latents on a path that the prior finds likely: an arc, not a chord."""

import torch
from torch import Tensor

from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.flows.priors.mixture import MixturePrior
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.flows.priors.rotations import RotationPrior
from hgfctl.engine.flows.priors.sphere import SpherePrior
from hgfctl.engine.flows.priors.uniform import UniformPrior
from hgfctl.engine.geometry.rotations import as_matrices, matrix, quaternion
from hgfctl.errors import RequestError


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
        RequestError: of neither kind of prior.
    """
    u, v = _to_normal(prior, start.double()).flatten(1), _to_normal(prior, end.double()).flatten(1)
    if isinstance(prior, RotationPrior):
        v = torch.where((u * v).sum(1, keepdim=True) < 0, -v, v)
    cosine = (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1)).clamp_min(1e-300)
    angle = cosine.clamp(-1, 1).acos().clamp(1e-6, torch.pi - 1e-6)
    f = fractions.double().unsqueeze(1)
    weights = torch.stack([((1 - f) * angle).sin(), (f * angle).sin()]) / angle.sin()
    between = weights[0].unsqueeze(-1) * u + weights[1].unsqueeze(-1) * v
    return _from_normal(prior, between).reshape(len(fractions), *start.shape)


def _to_normal(prior: Prior, x: Tensor) -> Tensor:
    if isinstance(prior, GaussianPrior):
        return x / prior.sd
    if isinstance(prior, MixturePrior) and prior.count == 1:
        return prior.standardised(x)
    if isinstance(prior, SpherePrior):
        return x
    if isinstance(prior, RotationPrior):
        return quaternion(as_matrices(x))
    if not isinstance(prior, UniformPrior):
        raise RequestError(
            "between two latents of this flow no path is known that its prior finds likely (that is known of normal\n"
            "and uniform priors, not of mixtures and banks); flow.prior=gaussian has one, where it fits"
        )
    return torch.special.ndtri(((x - prior.lo) / (prior.hi - prior.lo)).clamp(1e-12, 1 - 1e-12))


def _from_normal(prior: Prior, u: Tensor) -> Tensor:
    if isinstance(prior, GaussianPrior):
        return prior.sd * u
    if isinstance(prior, MixturePrior):
        return prior.from_standard(u)
    if isinstance(prior, SpherePrior):
        return u
    if isinstance(prior, RotationPrior):
        return matrix(u.flatten(0, 1)).reshape(*u.shape[:2], 9)
    assert isinstance(prior, UniformPrior)
    return prior.lo + (prior.hi - prior.lo) * torch.special.ndtr(u)
