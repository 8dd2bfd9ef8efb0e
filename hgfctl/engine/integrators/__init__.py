"""Hamiltonian ODEs dx/dt = v, dv/dt = F(x, t) for any force field: what a flow without a closed form needs.

`integrator` says what an integrator is; `symplectic` composes kicks and drifts (time-reversible, volume-preserving);
`runge_kutta` is the general explicit loop, which the solvers of dx/dt = V(x, t) share. An integrator has no options:
`INTEGRATORS["leapfrog"]` is ready for use.
"""

from hgfctl.registry import Registry

INTEGRATORS = Registry(
    "integrator",
    {
        "leapfrog": "hgfctl.engine.integrators.symplectic:LEAPFROG",
        "yoshida": "hgfctl.engine.integrators.symplectic:YOSHIDA4",
        "euler": "hgfctl.engine.integrators.runge_kutta:EULER",
        "rk4": "hgfctl.engine.integrators.runge_kutta:RK4",
    },
)
