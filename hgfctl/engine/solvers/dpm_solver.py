"""DDIM (Song et al. 2021, arXiv 2010.02502) and DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095), multistep.

The second order is D* = D + (h / 2 h_before)(D - D_before) in lambda = ln(a/b); the third integrates the parabola
through three values exactly. (The authors' code, and those made after it, weigh the parabola's quadratic term half as
much, which is of order 2.)
"""

from hgfctl.engine.solvers.exponential import ExponentialMultistep

DDIM = ExponentialMultistep("ddim", order=1)
DPM_SOLVER_2M = ExponentialMultistep("dpm++2m", order=2)
DPM_SOLVER_3M = ExponentialMultistep("dpm++3m", order=3)
