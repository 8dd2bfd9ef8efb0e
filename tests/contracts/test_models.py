"""Every model of the registry: how it is sampled, what it can be read as, and what a checkpoint keeps of it."""

import pytest
import torch

from hgfctl.config import Component
from hgfctl.engine import provided
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.models import MODELS, needs_flow
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import OF_FLOW, Model
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.provided import NETWORK
from hgfctl.engine.sampling import FLOW, SAMPLERS
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.options import kind_of
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.solvers import SOLVERS
from hgfctl.errors import RequestError

NAMES = ["auto", *SOLVERS, *(kind for kind in SAMPLERS if kind != FLOW)]
OPTIONS = {"noise-predictor": {"clock": {"name": "vp"}}}


def built(name: str, sd: float = 0.7) -> Model:
    """A small model of items (2,) in three classes, whose network is not zero."""
    torch.manual_seed(0)
    network = MLP((2,), 3, width=8, blocks=1)
    torch.nn.init.normal_(network.dec.weight, std=0.1)
    flow = Oscillation(sd=sd) if needs_flow(name) else None
    options = OPTIONS.get(name, {}) | ({} if flow else {"sd": sd})
    model: Model = MODELS.build(name, options, {NETWORK: network, provided.FLOW: flow})
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("name", MODELS)
def test_it_declares_what_it_is(name: str) -> None:
    model = built(name)
    assert model.described.startswith(("a ", "an "))
    assert model.samplers
    assert set(model.samplers) <= set(SAMPLERS)
    assert (model.flow is not None) == needs_flow(name)
    assert model.root_mean_square == 0.7


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("name", MODELS)
def test_every_sampler_samples_it_or_is_refused_in_a_sentence(name: str, sampler: str) -> None:
    """It samples if and only if the model admits the kind; items are finite, and depend on their seed alone."""
    model = built(name)
    request = SamplingRequest(600 if sampler == "dopri5" else 40, Component(name=sampler))
    kind = model.samplers[0] if sampler == "auto" else kind_of(sampler)
    if kind not in model.samplers:
        with pytest.raises(RequestError, match=f"sampler '{sampler.replace('+', '.')}' (follows|is not for)"):
            sampler_for(model, (2,), 3, request)
        return
    found = sampler_for(model, (2,), 3, request)
    (together,) = found.batches(torch.arange(4), 4)
    (alone,) = found.batches(torch.tensor([2]), 1)
    assert together.x.shape == (4, 2)
    assert bool(together.x.isfinite().all())
    torch.testing.assert_close(together.x[2:3], alone.x, rtol=1e-5, atol=1e-5)
    assert found.nfe <= request.nfe


@pytest.mark.parametrize("name", MODELS)
def test_it_is_an_hvp_where_solvers_follow_it_and_nowhere_else(name: str) -> None:
    model = built(name)
    if model.is_followed():
        assert isinstance(model.as_hvp(), HVP)
    else:
        with pytest.raises(RequestError, match=f"is {model.described}"):
            model.as_hvp()


@pytest.mark.parametrize("name", MODELS)
def test_it_knows_a_score_with_noise_or_without(name: str) -> None:
    """A model that nothing but jumps samples knows none, and says so."""
    model = built(name)
    if model.samplers == ("consistency",):
        for sigma in (None, 0.3):
            with pytest.raises(RequestError, match="knows no score"):
                model.score_field(sigma)
        return
    known, unknown = (None, 0.3) if model.samplers == ("hmc",) else (0.3, None)
    assert model.score_field(known)(torch.zeros(5, 2), None).shape == (5, 2)
    with pytest.raises(RequestError, match="`noise"):
        model.score_field(unknown)


@pytest.mark.parametrize("name", MODELS)
def test_another_flow_keeps_its_class_and_shares_its_weights(name: str) -> None:
    model, flow = built(name), Oscillation(sd=0.7, alpha=2.0)
    if model.flow is None:
        with pytest.raises(RequestError, match="predicts no velocity"):
            model.under(flow)
        return
    other = model.under(flow)
    assert type(other) is type(model)
    assert other.flow == flow
    assert model.flow == Oscillation(sd=0.7)
    assert other.network is model.network


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_keeps_the_networks_tensors_and_those_of_the_flow(name: str) -> None:
    model = built(name)
    tensors = model.tensors()
    assert {key for key in tensors if not key.startswith(OF_FLOW)} == set(model.network.state_dict())
