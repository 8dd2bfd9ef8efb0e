"""UniPC (Zhao et al. 2023, arXiv 2302.04867), data prediction, B_2(h): a predictor and a corrector for one evaluation.

UniP of order p is the exponential multistep method with p values, UniC with p + 1; from order 3 (UniC: 2) on, B(h)
drops out of both. `angle-unipc3` is the same with D a polynomial in the angle atan(sigma/sd) rather than in ln(a/b).
"""

from hgfctl.engine.solvers.exponential import ANGLE, ExponentialMultistep

UNIPC2 = ExponentialMultistep("unipc2", order=2, corrected=True)
UNIPC3 = ExponentialMultistep("unipc3", order=3, corrected=True)
ANGLE_UNIPC2 = ExponentialMultistep("angle-unipc2", order=2, corrected=True, midpoint=False, clock=ANGLE)
ANGLE_UNIPC3 = ExponentialMultistep("angle-unipc3", order=3, corrected=True, midpoint=False, clock=ANGLE)
