"""How v0 is drawn, given x0: laws to be put into the flow `designed`. A new one is one file and one line here.

A constructor may ask for the shape of an item, the root mean square of the data, T and the force of the flow, see
`hgfctl.engine.provided`. All its other parameters are options of presets.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hgfctl.engine.provided import DATA_SCALE, DURATION, FORCE, ITEM_SHAPE
from hgfctl.registry import Registry

if TYPE_CHECKING:
    from hgfctl.engine.flows.velocity_laws.coupled import CoupledVelocity as CoupledVelocity
    from hgfctl.engine.flows.velocity_laws.gaussian import GaussianVelocity as GaussianVelocity
    from hgfctl.engine.flows.velocity_laws.law import InitialMoments as InitialMoments
    from hgfctl.engine.flows.velocity_laws.law import VelocityLaw as VelocityLaw

VELOCITY_LAWS = Registry(
    "velocity law",
    {
        "aimed": "hgfctl.engine.flows.velocity_laws.aimed:aimed",
        "gaussian": "hgfctl.engine.flows.velocity_laws.gaussian:gaussian",
        "flow-matching": "hgfctl.engine.flows.velocity_laws.coupled:flow_matching",
        "optimal-transport": "hgfctl.engine.flows.velocity_laws.optimal_transport:optimal_transport",
        "sphere": "hgfctl.engine.flows.velocity_laws.sphere:SphereVelocity",
        "student-t": "hgfctl.engine.flows.velocity_laws.student_t:StudentVelocity",
    },
    provides=[ITEM_SHAPE, DATA_SCALE, DURATION, FORCE],
)

_FACE = {
    "VelocityLaw": "law",
    "InitialMoments": "law",
    "GaussianVelocity": "gaussian",
    "CoupledVelocity": "coupled",
}


def __getattr__(name: str) -> Any:
    """The classes, imported when first asked for: this file is read where torch is not to be loaded."""
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FACE[name]}"), name)
