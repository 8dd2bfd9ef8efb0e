"""The sampler of a trained model: of the kinds that it admits the one that is asked for."""

from hgfctl.config import AUTO
from hgfctl.engine.models.model import Model
from hgfctl.engine.sampling import FLOW, SAMPLERS
from hgfctl.engine.sampling.options import kind_of
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.errors import RequestError


def sampler_for(model: Model, shape: tuple[int, ...], classes: int, request: SamplingRequest) -> Sampler:
    """The sampler of a model.

    Args:
        model: in evaluation mode.
        shape, classes: of the items.
        request: budget, method, grid and guidance.

    Raises:
        RequestError: an unknown or unfit method, option or grid, or too small a budget.
    """
    name, own = request.sampler.name, model.samplers[0]
    kind = own if name == AUTO else kind_of(name)
    if kind not in model.samplers:
        if kind == FLOW:
            raise RequestError(f"sampler '{name}' follows a flow, and {model.described} is sampled by {own}")
        raise RequestError(f"sampler '{name}' is not for this model; {AUTO if own == FLOW else own} is")
    sampler: Sampler = SAMPLERS[kind].of_model(model, shape, classes, request)
    return sampler
