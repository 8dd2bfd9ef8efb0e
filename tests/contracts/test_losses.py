"""Every loss, on every model that it trains: one finite number an item, differentiable, the same for one rng."""

from typing import Any

import pytest
import torch
from torch import nn

from hgfctl.engine.data import DATA
from hgfctl.engine.data.density import known_density
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.losses import LOSSES, TIMES, losses_for
from hgfctl.engine.losses.loss import Loss, Share
from hgfctl.engine.models import MODELS
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks import NETWORKS
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.provided import (
    AUGMENTATION,
    CLASS_COUNT,
    CRITIC,
    DATA_SCALE,
    DENSITY,
    FLOW,
    ITEM_SHAPE,
    NETWORK,
    TEACHER,
    TIMES_LAW,
)
from hgfctl.engine.randomness import generator

BATCH = 16
GMM = DATA.build("gmm", {})
PAIRS = [(name, model) for model in MODELS for name in losses_for(model)]
MODEL_OPTIONS: dict[str, dict[str, Any]] = {"noise-predictor": {"clock": {"name": "vp"}}}


def network() -> Network:
    built: Network = NETWORKS.build("mlp", {"width": 16, "blocks": 1}, {ITEM_SHAPE: GMM.shape, CLASS_COUNT: 0})
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    return built


def built(name: str, kind: str) -> tuple[Loss, Any]:
    torch.manual_seed(0)
    flow = Oscillation(sd=0.5)
    model = MODELS.build(kind, MODEL_OPTIONS.get(kind, {}), {NETWORK: network(), FLOW: flow})
    provided = {
        TIMES_LAW: TIMES.build("log-normal", {}),
        AUGMENTATION: None,
        CRITIC: network(),
        DATA_SCALE: 0.5,
        DENSITY: known_density(GMM),
        TEACHER: HVP(network(), flow).eval(),
    }
    return LOSSES.build(name, {}, provided), model


def weights(loss: Loss, model: nn.Module) -> list[nn.Parameter]:
    return [*model.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_one_finite_number_an_item(name: str, kind: str) -> None:
    loss, model = built(name, kind)
    x0 = GMM.batch(0, BATCH, 0).x
    before = [parameter.clone() for parameter in weights(loss, model)]
    value = loss(model, x0, None, generator("loss", 0))
    assert value.shape == (BATCH,)
    assert bool(value.isfinite().all())
    gradients = torch.autograd.grad(value.mean(), weights(loss, model), allow_unused=True)
    moved = [gradient for gradient in gradients if gradient is not None]
    assert moved
    assert all(bool(gradient.isfinite().all()) for gradient in moved)
    assert any(bool(gradient.any()) for gradient in moved)
    assert all(map(torch.equal, before, weights(loss, model)))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_same_numbers_for_the_same_generator(name: str, kind: str) -> None:
    loss, model = built(name, kind)
    x0 = GMM.batch(0, BATCH, 0).x
    state = torch.get_rng_state()
    first, again, other = (loss(model, x0, None, generator("loss", seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in ("ism", "esm"))  # these two draw nothing
    assert torch.equal(state, torch.get_rng_state()), "the global generator was drawn from"


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_shares_of_a_batch_are_parts_of_the_whole(name: str, kind: str) -> None:
    loss, model = built(name, kind)
    x0 = GMM.batch(0, BATCH, 0).x
    whole = loss(model, x0, None, generator("loss", 0))
    if not loss.shared:
        assert torch.equal(loss.on_share(model, x0, None, generator("loss", 0), Share(0, BATCH)), whole)
        return
    half = BATCH // 2
    for first in (0, half):
        share = loss.on_share(model, x0[first : first + half], None, generator("loss", 0), Share(first, BATCH))
        assert torch.allclose(share, whole[first : first + half], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_adapts_says_how_often(name: str, kind: str) -> None:
    """`adapt` changes buffers alone, and `facts` are plain finite numbers."""
    loss, model = built(name, kind)
    x0 = GMM.batch(0, BATCH, 0).x
    before = [parameter.clone() for parameter in weights(loss, model)]
    assert isinstance(loss.every, int)
    assert loss.every >= 0
    loss.adapt(model, x0, None, generator("adapt", 0))
    assert all(map(torch.equal, before, weights(loss, model)))
    assert all(isinstance(value, float) and value == value for value in loss.facts(model).values())


def test_every_loss_trains_something() -> None:
    assert {name for name, _ in PAIRS} == set(LOSSES)
