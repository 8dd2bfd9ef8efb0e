"""Forces that are the slope of a potential: energy |v|^2/2 + U(x) is kept, if U does not depend on time."""

from abc import abstractmethod

from torch import Tensor

from hgfctl.engine.flows.forces.force import Force


class ConservativeForce(Force):
    """F = -grad U."""

    @abstractmethod
    def potential(self, x: Tensor) -> Tensor:
        """U of items: (B, *D) -> (B,)."""


def total(energies: Tensor) -> Tensor:
    """Energies of coordinates (B, *D), summed over each item: (B,)."""
    return energies.flatten(1).sum(1)
