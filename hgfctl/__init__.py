"""hgfctl: Hamiltonian generative flows and Hamiltonian score matching, from the command line and from Python.

The method is from P. Holderrieth, Y. Xu and T. Jaakkola, "Hamiltonian Score Matching and Generative Flows",
NeurIPS 2024 (arXiv 2410.20470), cited in docstrings as HSM24.

The names in `__all__` are promised to stay; each is imported when it is first asked for, for that may load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hgfctl.version import __version__

if TYPE_CHECKING:
    from hgfctl.api import convert, evaluate, load, preset, register, train
    from hgfctl.engine.data.dataset import DataSet
    from hgfctl.engine.evaluation.metrics.metric import Metric
    from hgfctl.engine.flows.flow import Flow
    from hgfctl.engine.flows.forces.force import Force
    from hgfctl.engine.losses.loss import Loss
    from hgfctl.engine.models.networks.network import Network
    from hgfctl.engine.solvers.solver import Solver
    from hgfctl.errors import HgfctlError, RequestError
    from hgfctl.model import Model
    from hgfctl.storage.runs import Run

_HOMES = {
    **dict.fromkeys(("convert", "evaluate", "load", "preset", "register", "train"), "hgfctl.api"),
    **dict.fromkeys(("HgfctlError", "RequestError"), "hgfctl.errors"),
    "Model": "hgfctl.model",
    "Run": "hgfctl.storage.runs",
    "DataSet": "hgfctl.engine.data.dataset",
    "Flow": "hgfctl.engine.flows.flow",
    "Force": "hgfctl.engine.flows.forces.force",
    "Loss": "hgfctl.engine.losses.loss",
    "Metric": "hgfctl.engine.evaluation.metrics.metric",
    "Network": "hgfctl.engine.models.networks.network",
    "Solver": "hgfctl.engine.solvers.solver",
}

__all__ = [
    "DataSet",
    "Flow",
    "Force",
    "HgfctlError",
    "Loss",
    "Metric",
    "Model",
    "Network",
    "RequestError",
    "Run",
    "Solver",
    "__version__",
    "convert",
    "evaluate",
    "load",
    "preset",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hgfctl' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
