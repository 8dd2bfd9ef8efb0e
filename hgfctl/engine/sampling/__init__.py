"""From a budget of network evaluations to items.

`choose` finds the sampler of a model: a model names the kinds that it admits, and SAMPLERS says what builds each. A
`flow` is sampled by a solver on a grid: `plan` chooses both (`best` holds what measured best, `optimized_grids` what
was searched for one model) and keeps the budget (`call_cost` counts guided calls). `consistency`, `hmc` and `langevin`
sample models that are no flows. `sampler` draws items by their seeds; `options` checks what a configuration says of a
sampler besides its name; `request` is all that a caller asks for.
"""

from hgfctl.registry import Registry

FLOW = "flow"
"""The kind of sampler that the solvers of flows are; the other kinds are samplers by the same name."""

SAMPLERS = Registry(
    "sampler",
    {
        FLOW: "hgfctl.engine.sampling.sampler:FlowSampler",
        "consistency": "hgfctl.engine.sampling.consistency:ConsistencySampler",
        "hmc": "hgfctl.engine.sampling.hmc:HMCSampler",
        "langevin": "hgfctl.engine.sampling.langevin:LangevinSampler",
    },
    base="hgfctl.engine.sampling.sampler:Sampler",
)
"""Kind of sampler -> the class that builds it from a model and a request; see `Sampler.of_model`."""
