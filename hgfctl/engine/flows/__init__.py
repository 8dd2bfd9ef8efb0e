"""Phase space (HSM24, section 3): x0 ~ data, v0 ~ velocity law, dx/dt = v, dv/dt = F(x, t) for 0 <= t <= T.

`flow` says what a flow is; `linear` derives everything of the linear family from a(t) and b(t); `conversions` turns
HVP, denoiser, noise and score into one another; `preconditioning` follows from second moments, in the flow's `basis`.
`mixture_hvp`, `boxes_hvp` and `wrapped_hvp` are exact predictors, the oracles of every test and figure.

`design` makes a flow of any force (`forces`), velocity law (`velocity_laws`) and prior (`priors`): a `LinearMotion`,
whose coefficients act as `motion` says, or one that is `Simulated` by `flights`.
"""

from typing import TYPE_CHECKING

from hgfctl.engine.provided import FORCE_CONTEXT, ITEM_SHAPE
from hgfctl.registry import Registry

if TYPE_CHECKING:
    from hgfctl.engine.flows.flow import Flow

FLOWS = Registry(
    "flow",
    {
        "designed": "hgfctl.engine.flows.design:designed",
        "diffusion": "hgfctl.engine.flows.diffusion:Diffusion",
        "flow-matching": "hgfctl.engine.flows.flow_matching:FlowMatching",
        "oscillation": "hgfctl.engine.flows.oscillation:Oscillation",
        "reflection": "hgfctl.engine.flows.reflection:Reflection",
        "so3": "hgfctl.engine.flows.so3:SO3",
        "sphere": "hgfctl.engine.flows.sphere:Sphere",
        "torus": "hgfctl.engine.flows.torus:Torus",
    },
    provides=[FORCE_CONTEXT, ITEM_SHAPE],
)


def is_linear(name: str) -> bool:
    """True for a flow of the linear family, a(t) x0 + b(t) z."""
    return getattr(FLOWS[name], "linear", False)  # `designed` is a function; no flow that it returns is of that family


def flow_name(flow: "Flow | None") -> str | None:
    """The name of a flow in presets; None where there is no flow."""
    return None if flow is None else flow.name
