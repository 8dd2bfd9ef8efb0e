"""Sampling: dx/dt = V(x, t) from x_T ~ prior back to t = 0, on a budget of network evaluations (NFE).

A grid says at which times; a solver says how to step between them; `plan` chooses both and keeps the budget; `sampling`
draws items by their seeds. A solver needs a velocity and a flow, never a network.
"""

from hgfctl.registry import Registry

SOLVERS = Registry(
    "sampler",
    {
        "euler": "hgfctl.engine.solvers.one_step:EULER",
        "heun": "hgfctl.engine.solvers.one_step:HEUN",
        "rk4": "hgfctl.engine.solvers.one_step:RK4",
        "ab2": "hgfctl.engine.solvers.adams_bashforth:AB2",
        "ab3": "hgfctl.engine.solvers.adams_bashforth:AB3",
        "ab4": "hgfctl.engine.solvers.adams_bashforth:AB4",
        "ddim": "hgfctl.engine.solvers.dpm_solver:DDIM",
        "dpm++2m": "hgfctl.engine.solvers.dpm_solver:DPM_SOLVER_2M",
    },
)

GRIDS = Registry(
    "grid",
    {
        "uniform": "hgfctl.engine.solvers.grids:uniform",
        "cosine": "hgfctl.engine.solvers.grids:cosine",
        "trimmed-cosine": "hgfctl.engine.solvers.grids:trimmed_cosine",
        "square-root": "hgfctl.engine.solvers.grids:square_root",
        "quadratic": "hgfctl.engine.solvers.grids:quadratic",
        "rho": "hgfctl.engine.solvers.grids:rho",
        "sigmoid": "hgfctl.engine.solvers.grids:sigmoid",
        "log-snr": "hgfctl.engine.solvers.grids:log_snr",
    },
)
