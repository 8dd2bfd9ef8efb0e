"""Minibatch optimal transport: straight lines that cross as little as the items of a batch allow."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.velocity_laws.coupled import CoupledVelocity


@dataclass(frozen=True)
class TransportedVelocity(CoupledVelocity):
    """v0 = (sd z_p(i) - x0_i) / T, where the permutation p minimises sum_i |x0_i - sd z_p(i)|^2 over a batch
    (Pooladian et al. 2023, arXiv 2304.14772; Tong et al. 2023, arXiv 2302.00482).

    |x - sd z|^2 = |x|^2 + |sd z|^2 - 2 sd x.z, and a permutation moves the last term alone: the best one does not
    depend on sd. The z of a batch are as likely in one order as in another, and p sees which values there are, not
    which came first; so x1 = sd z_p(i) of an item chosen at random is N(0, sd^2 I), as without.

    With classes, p stays within each class. Else it would give each class the noise that lies nearest to it, x1 given
    the class would be no longer N(0, sd^2 I), and sampling a class would start from the wrong law.

    Batches are cut into parts of nearly equal size, at most `batch`, in order: an assignment costs n^3. A process of
    several, or one of the parts that `train.accumulate` makes of a batch, pairs the items it has: pairs are nearer
    the larger these shares are, and training that is shared out differently differs. With the same shares it is
    the same, bit for bit. `moments` are those of independent pairs: how far pairs agree is up to the data.

    Args:
        batch: most items that are paired at a time.
    """

    batch: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise ValueError(f"batch (items that are paired at a time) must be 1 or more, not {self.batch}")

    def paired(self, x0: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        order = torch.arange(len(z), device=z.device)
        for items in _classes(labels, len(z)):
            for part in items.tensor_split(-(-len(items) // self.batch)):
                here = part.to(z.device)
                order[here] = here[assignment(x0[here], z[here]).to(z.device)]
        return z[order]


def assignment(x: Tensor, z: Tensor) -> Tensor:
    """p (N,) that minimises sum_i |x_i - z_p(i)|^2, on the CPU; x and z are (N, *D).

    Costs are -x_i.z_j, less the least of each row, then of each column: that changes no order among permutations and
    saves about a third of the search.
    """
    from scipy.optimize import linear_sum_assignment

    costs = -(x.flatten(1).cpu().double() @ z.flatten(1).cpu().double().T)
    costs -= costs.min(1, keepdim=True).values
    costs -= costs.min(0).values
    _, order = linear_sum_assignment(costs.numpy())
    return torch.from_numpy(order)


def optimal_transport(data_sd: float, duration: float, s: float | None = None, batch: int = 256) -> TransportedVelocity:
    """Straight lines from each item to the noise that is nearest, all in all.

    Args:
        data_sd: root mean square of the data a coordinate.
        duration: T.
        s: standard deviation of x1; the data's own when left out.
        batch: most items that are paired at a time.
    """
    return TransportedVelocity(data_sd if s is None else s, duration, batch)


def _classes(labels: Tensor | None, count: int) -> list[Tensor]:
    """The indices of each class, in order; all of them without classes."""
    if labels is None:
        return [torch.arange(count)]
    labels = labels.cpu()
    return [(labels == label).nonzero().squeeze(1) for label in torch.unique(labels)]
