"""Methods and grids for dx/dt = V(x, t), from x_T ~ prior back to t = 0.

A grid says at which times; a solver says how to step between them. A solver needs a velocity and a flow, never a
network; budgets and items are the business of the room `sampling`.
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
        "abm2": "hgfctl.engine.solvers.adams_moulton:ABM2",
        "abm3": "hgfctl.engine.solvers.adams_moulton:ABM3",
        "ddim": "hgfctl.engine.solvers.dpm_solver:DDIM",
        "dpm++2m": "hgfctl.engine.solvers.dpm_solver:DPM_SOLVER_2M",
        "dpm++3m": "hgfctl.engine.solvers.dpm_solver:DPM_SOLVER_3M",
        "unipc2": "hgfctl.engine.solvers.unipc:UNIPC2",
        "unipc3": "hgfctl.engine.solvers.unipc:UNIPC3",
        "dopri5": "hgfctl.engine.solvers.adaptive:DOPRI5",
        "ipndm4": "hgfctl.engine.solvers.deis:IPNDM4",
        "deis3": "hgfctl.engine.solvers.deis:DEIS_TAB3",
        "angle-ab2": "hgfctl.engine.solvers.rotated:ANGLE_AB2",
        "angle-ab3": "hgfctl.engine.solvers.rotated:ANGLE_AB3",
        "angle-ab4": "hgfctl.engine.solvers.rotated:ANGLE_AB4",
        "angle-abm2": "hgfctl.engine.solvers.rotated:ANGLE_ABM2",
        "angle-abm3": "hgfctl.engine.solvers.rotated:ANGLE_ABM3",
        "angle-unipc2": "hgfctl.engine.solvers.unipc:ANGLE_UNIPC2",
        "angle-unipc3": "hgfctl.engine.solvers.unipc:ANGLE_UNIPC3",
    },
    ready=True,
)

GRIDS = Registry(
    "grid",
    {
        "uniform": "hgfctl.engine.solvers.grids:uniform",
        "cosine": "hgfctl.engine.solvers.grids:cosine",
        "trimmed-cosine": "hgfctl.engine.solvers.grids:trimmed_cosine",
        "power": "hgfctl.engine.solvers.grids:power",
        "square-root": "hgfctl.engine.solvers.grids:square_root",
        "quadratic": "hgfctl.engine.solvers.grids:quadratic",
        "rho": "hgfctl.engine.solvers.grids:rho",
        "sigmoid": "hgfctl.engine.solvers.grids:sigmoid",
        "log-snr": "hgfctl.engine.solvers.grids:log_snr",
    },
)
