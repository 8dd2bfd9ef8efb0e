"""Force fields F(x, v, t), to be put into the flow `designed`. A new one is one file and one line here.

`force` says what a force is, `conservative` what one with a potential is; `choose` builds what a preset names, a
formula (`expression`) and a user's own code (`user`) among them; `checked` stops a flight that goes astray.
"""

from hgfctl.engine.provided import DURATION, ITEM_SHAPE, SCORE_READER
from hgfctl.registry import Registry

FORCES = Registry(
    "force",
    {
        "chirped": "hgfctl.engine.flows.forces.chirped:Chirped",
        "coarse-to-fine": "hgfctl.engine.flows.forces.coarse_to_fine:CoarseToFine",
        "damped": "hgfctl.engine.flows.forces.damped:Damped",
        "double-well": "hgfctl.engine.flows.forces.double_well:DoubleWell",
        "duffing": "hgfctl.engine.flows.forces.duffing:Duffing",
        "expression": "hgfctl.engine.flows.forces.expression:ExpressionForce",
        "harmonic": "hgfctl.engine.flows.forces.harmonic:Harmonic",
        "learned": "hgfctl.engine.flows.forces.learned:LearnedForce",
        "linear": "hgfctl.engine.flows.forces.matrices:LinearByMatrices",
        "magnetic": "hgfctl.engine.flows.forces.magnetic:Magnetic",
        "none": "hgfctl.engine.flows.forces.none:NoForce",
        "particles": "hgfctl.engine.flows.forces.particles:Particles",
        "pendulum": "hgfctl.engine.flows.forces.pendulum:Pendulum",
    },
    provides=[ITEM_SHAPE, DURATION, SCORE_READER],
    base="hgfctl.engine.flows.forces.force:Force",
)
