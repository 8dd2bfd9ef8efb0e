"""A force that only training needs: sampling goes by the velocity learned, and does without it."""

from typing import Any

from torch import Tensor

from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.forces.user import is_code
from hgfctl.errors import RequestError


class AbsentForce(Force):
    """Stands for a force whose code or weights lie outside a checkpoint; it cannot be asked for.

    Args:
        name: as a preset says it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        raise RequestError(f"the force {self.name} is not in the checkpoint, and this needs it")


def lies_elsewhere(force: Any) -> bool:
    """True for a force that, as a preset writes it, is made of code or weights outside the preset."""
    name = force.get("name") if isinstance(force, dict) else force
    return isinstance(name, str) and (is_code(name) or name == "learned")
