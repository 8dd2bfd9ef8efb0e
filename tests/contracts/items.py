"""Flows of every registered name, and random items of their domains."""

from collections.abc import Iterator

import torch
from torch import Tensor

from hgfctl.engine.data.mixture import ring_mixture
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.forces.choose import ForceContext
from hgfctl.engine.provided import FORCE_CONTEXT, ITEM_SHAPE
from hgfctl.engine.randomness import generator

SHAPES = {"so3": (9,), "sphere": (3,)}
"""Shapes of items, for flows that cannot take pairs of numbers."""


def shape_of(name: str) -> tuple[int, ...]:
    """The shape of an item of a flow, by its name or that of the variant ("designed harmonic")."""
    return SHAPES.get(name.split()[0], (2,))


def flows() -> Iterator[tuple[str, Flow]]:
    """Every registered flow with its defaults; `designed` once for each of three kinds of force."""
    for name in FLOWS:
        if name == "designed":
            for force in ("none", "harmonic", "double-well"):
                flow: Flow = FLOWS.build(
                    name, {"force": force}, {FORCE_CONTEXT: ForceContext(shape_of(name)), ITEM_SHAPE: shape_of(name)}
                )
                data = 0.5 * torch.randn(4000, *shape_of(name), generator=generator("data"), dtype=torch.float64)
                yield f"{name} {force}", flow.measured(data) if flow.measures else flow
        else:
            yield name, FLOWS.build(name, {})


def items(flow: Flow, shape: tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    """Random data (count, *shape) in a flow's domain, float64: a ring where positions may be anywhere."""
    if flow.domain is not None:
        return flow.confine(flow.prior.sample((count, *shape), generator("items", seed)))
    if shape == (2,):
        return ring_mixture().sample(count, generator("items", seed)).double()
    return 0.5 * torch.randn(count, *shape, generator=generator("items", seed), dtype=torch.float64)


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(shape, generator=generator("noise", seed), dtype=torch.float64)
