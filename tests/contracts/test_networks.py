"""Every network: shapes, types, what is unknown, memory layouts, recomputing, and what it is told."""

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hgfctl.engine.models.networks import NETWORKS
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.provided import AUGMENTED_NUMBERS, CLASS_COUNT, ITEM_SHAPE
from hgfctl.engine.randomness import generator

SMALL: dict[str, dict[str, Any]] = {
    "adm": {"model_channels": 64, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]},
    "dit": {"patch": 2, "width": 32, "depth": 2, "heads": 2, "dropout": 0.1},
    "edm2": {"model_channels": 64, "channel_mult": [1, 1], "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.1},
    "unet": {"model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.1},
}
"""Options that make the large ones small; a network that is not named here is tested with its defaults."""
IMAGE, VECTOR, BATCH, AUGMENTED = (3, 8, 8), (3,), 5, 9


def built(name: str, classes: int = 4, augmented: int = 0) -> Network:
    """With random weights in place of those that start at 0, so that what goes in shows in what comes out."""
    torch.manual_seed(0)
    given = {CLASS_COUNT: classes, AUGMENTED_NUMBERS: augmented}
    try:
        network = NETWORKS.build(name, SMALL.get(name, {}), {**given, ITEM_SHAPE: IMAGE})
    except Exception:
        shape = {**given, ITEM_SHAPE: VECTOR}
        network = NETWORKS.build(name, SMALL.get(name, {}), shape if conditional(name) else {**shape, CLASS_COUNT: 0})
    assert isinstance(network, Network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    return network.eval()


def conditional(name: str) -> bool:
    """The perceptron refuses classes, and looks at no noise level."""
    return name != "perceptron"


def shape_of(network: Network) -> tuple[int, ...]:
    dtype = next(network.parameters()).dtype
    try:
        network(torch.zeros(1, *IMAGE, dtype=dtype), torch.zeros(1, dtype=dtype))
    except (RuntimeError, ValueError):
        return VECTOR
    return IMAGE


def given(network: Network, labels: bool = False) -> tuple[Tensor, Tensor, Tensor | None]:
    rng = generator("networks", 0)
    x = torch.randn(BATCH, *shape_of(network), generator=rng)
    return x, torch.randn(BATCH, generator=rng), torch.arange(BATCH) % 4 if labels else None


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_items_go_in_and_come_out(name: str, labelled: bool) -> None:
    network = built(name)
    x, noise, labels = given(network, labelled)
    said = network(x, noise, labels)
    assert said.shape == x.shape
    assert said.dtype == x.dtype
    assert bool(said.isfinite().all())
    assert torch.equal(network(x, noise, labels), said)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_double_precision_it_is_the_same_function(name: str) -> None:
    network = built(name)
    x, noise, labels = given(network, labels=conditional(name))
    exact = copy.deepcopy(network).double()(x.double(), noise.double(), labels)
    assert exact.dtype == torch.float64
    assert torch.allclose(
        network(x, noise, labels).double(), exact, rtol=2e-3, atol=2e-3 * float(exact.detach().abs().max())
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_items_are_seen_one_by_one(name: str) -> None:
    """An item's output depends on the item alone: a batch is its items, side by side."""
    network = built(name).double()
    x, noise, labels = given(network, labels=conditional(name))
    x, noise = x.double(), noise.double()
    alone = [network(x[i : i + 1], noise[i : i + 1], None if labels is None else labels[i : i + 1]) for i in range(2)]
    assert torch.allclose(network(x, noise, labels)[:2], torch.cat(alone), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in NETWORKS if conditional(name)])
def test_noise_and_classes_are_looked_at(name: str) -> None:
    network = built(name)
    x, noise, labels = given(network, labels=True)
    said = network(x, noise, labels)
    assert not torch.allclose(said, network(x, noise + 0.5, labels))
    assert not torch.allclose(said, network(x, noise, (labels + 1) % 4))
    assert not torch.allclose(said, network(x, noise, None))


@pytest.mark.parametrize("name", NETWORKS)
def test_without_classes_there_is_nothing_to_know(name: str) -> None:
    network = built(name, classes=0)
    x, noise, _ = given(network)
    assert network(x, noise).shape == x.shape


@pytest.mark.parametrize("name", NETWORKS)
def test_layouts_of_memory_do_not_matter(name: str) -> None:
    network = built(name)
    x, noise, labels = given(network, labels=conditional(name))
    other = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.t().contiguous().t()
    assert torch.allclose(network(other, noise, labels), network(x, noise, labels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS.class_of(name).can_recompute])
def test_recomputing_changes_memory_alone(name: str) -> None:
    """Values and gradients, dropout included, are the same bits."""
    plain = built(name, augmented=AUGMENTED if NETWORKS.wants(name, AUGMENTED_NUMBERS) else 0).train()
    x, noise, labels = given(plain, labels=True)
    again = copy.deepcopy(plain)
    again.recompute = True
    assert not plain.recompute
    said = []
    for network in (plain, again):
        torch.manual_seed(1)
        said.append(network(x, noise, labels))
        said[-1].square().sum().backward()
    said = [each.detach() for each in said]
    assert torch.equal(*said)
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("name", [name for name in NETWORKS if not NETWORKS.class_of(name).can_recompute])
def test_what_cannot_recompute_has_no_large_blocks(name: str) -> None:
    """It declares so truly: nothing in it is called through `run`."""
    assert ".run(" not in inspect.getsource(NETWORKS.class_of(name))


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS.wants(name, AUGMENTED_NUMBERS)])
def test_augmentation_is_told(name: str) -> None:
    network = built(name, augmented=AUGMENTED)
    x, noise, labels = given(network, labels=True)
    nothing, something = torch.zeros(BATCH, AUGMENTED), torch.randn(BATCH, AUGMENTED, generator=generator("told"))
    said = network(x, noise, labels)
    assert torch.allclose(network(x, noise, labels, nothing), said, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network(x, noise, labels, something), said)


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_are_the_same_network(name: str) -> None:
    network = built(name)
    fresh: nn.Module = built(name)
    fresh.load_state_dict(copy.deepcopy(network).state_dict())
    x, noise, labels = given(network, labels=conditional(name))
    assert torch.equal(fresh(x, noise, labels), network(x, noise, labels))
