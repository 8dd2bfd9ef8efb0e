"""Registries: what constructors are given, what presets may set, what users may add."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from torch import Tensor, nn

from hgfctl.engine.data import AUGMENTATIONS, DATA
from hgfctl.engine.features import FEATURES
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.forces import FORCES
from hgfctl.engine.flows.forces.choose import ForceContext, chosen
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.priors import PRIORS
from hgfctl.engine.flows.velocity_laws import VELOCITY_LAWS
from hgfctl.engine.losses import LOSSES, TIMES, losses_for
from hgfctl.engine.losses.loss import Loss
from hgfctl.engine.models import CLOCKS, MODELS, needs_flow
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks import NETWORKS
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.provided import CLASS_COUNT, DATA_SCALE, ITEM_SHAPE, TEACHER, ClassCount, DataScale, ItemShape
from hgfctl.errors import RequestError
from hgfctl.registry import Provided, Registry

REGISTRIES = [
    *(DATA, AUGMENTATIONS, FEATURES, FLOWS, FORCES, PRIORS, VELOCITY_LAWS),
    *(LOSSES, TIMES, MODELS, CLOCKS, NETWORKS),
]
ALL = [(registry, name) for registry in REGISTRIES for name in registry]
SIZE = Provided("a size")
COLOUR = Provided("a colour")


@dataclass
class Plain:
    """Asks by markers under names of its own."""

    whatever: Annotated[tuple[int, ...], SIZE]
    paint: Annotated[str | None, COLOUR] = None
    width: int = 3


class Nullable:
    def __init__(self, size: Annotated[tuple[int, ...], SIZE] | None = None, *, share: float = 0.5) -> None:
        self.size, self.share = size, share
        if not 0 <= share <= 1:
            raise ValueError("share lies between 0 and 1")


def built(width: int = 2) -> Plain:
    return Plain((width,))


@pytest.fixture
def registry() -> Registry:
    things = Registry("thing", {}, provides=[SIZE, COLOUR])
    things.register("plain", Plain)
    things.register("nullable", Nullable)
    things.register("built", built)
    things.register("ready", Plain((7,)))
    return things


@pytest.fixture
def clean() -> Iterator[None]:
    """Leaves the engine's registries as they were."""
    before = [dict(registry._entries) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry._entries = entries


def test_markers_decide_and_names_do_not(registry: Registry) -> None:
    values = {SIZE: (2, 3), COLOUR: "blue"}
    assert registry.build("plain", {"width": 5}, values) == Plain((2, 3), "blue", 5)
    assert registry.build("nullable", {}, values).size == (2, 3)
    assert registry.build("nullable", {}).size is None
    assert registry.build("built", {"width": 4}, values) == Plain((4,))
    assert registry.build("ready", {}, values) == Plain((7,))
    assert registry.wants("plain", SIZE)
    assert registry.wants("plain", COLOUR)
    assert not registry.wants("nullable", COLOUR)
    assert registry.has_option("plain", "width")
    assert not registry.has_option("plain", "whatever")


def test_options_are_what_is_not_provided(registry: Registry) -> None:
    assert registry.options("plain", {}) == {"width": 3}
    assert registry.options("nullable", {"share": 1}) == {"share": 1.0}
    assert registry.options("ready", {}) == {}
    with pytest.raises(RequestError, match=r"unknown option 'thing.widht' of plain; did you mean 'thing.width'"):
        registry.build("plain", {"widht": 3}, {SIZE: (1,)})
    with pytest.raises(RequestError, match=r"unknown option 'thing.whatever' of plain"):
        registry.build("plain", {"whatever": [1]}, {SIZE: (1,)})
    with pytest.raises(RequestError, match=r"thing.width: .* not 'wide'"):
        registry.options("plain", {"width": "wide"})
    with pytest.raises(RequestError, match="thing nullable: share lies between 0 and 1"):
        registry.build("nullable", {"share": 2})
    with pytest.raises(RequestError, match="unknown thing 'plian'; did you mean 'plain'"):
        registry.build("plian", {})


def test_what_is_not_provided_is_refused(registry: Registry) -> None:
    with pytest.raises(RequestError, match="parameter whatever asks for a size, which a thing is not given"):
        registry.build("plain", {}, {COLOUR: "red"})

    class Greedy:
        def __init__(self, teacher: Annotated[Any, TEACHER]) -> None: ...

    with pytest.raises(RequestError, match=r"parameter teacher asks for .* it is given a size, a colour"):
        registry.register("greedy", Greedy)
    assert "greedy" not in registry


def test_names_are_taken_once(registry: Registry) -> None:
    registry.register("plain", Plain)  # the same class again, as a notebook's cell does
    with pytest.raises(RequestError, match="thing 'plain' is there already"):
        registry.register("plain", Nullable)
    for name in ("", "a b", "module:attr"):
        with pytest.raises(RequestError, match="a name is one word without colons"):
            registry.register(name, Plain)
    assert registry.name_of(Plain) == "plain"
    assert registry.name_of(Force) == "Force"
    assert registry.class_of("built") is registry.class_of("ready") is registry.class_of("plain") is Plain
    assert list(registry) == ["plain", "nullable", "built", "ready"]


def test_parameters_by_name_are_for_older_code() -> None:
    class Older:
        def __init__(self, size: tuple[int, ...] = (), k: float = 1.0) -> None:
            self.size = size

    older = Registry("thing", {}, [SIZE], by_name={"size": SIZE})
    older.register("older", Older)
    assert older.build("older", {}, {SIZE: (4,)}).size == (4,)
    assert older.options("older", {}) == {"k": 1.0}


@pytest.mark.parametrize(("registry", "name"), ALL, ids=lambda part: part if isinstance(part, str) else part.kind)
def test_every_part_asks_for_what_there_is(registry: Registry, name: str) -> None:
    """Each name is found by its class, and its constructor asks for nothing that its registry does not provide."""
    parameters = registry._parameters(name)
    assert all(p.marker is None or p.marker in registry.provides for p in parameters.values())
    if not callable(registry[name]) or isinstance(registry[name], type):
        assert registry.name_of(registry[name]) == name


@pytest.mark.usefixtures("clean")
def test_a_users_network_and_loss() -> None:
    class Linear(Network):
        def __init__(self, like: ItemShape, kinds: ClassCount, gain: float = 1.0) -> None:
            super().__init__()
            (dim,) = like
            self.gain, self.kinds, self.layer = gain, kinds, nn.Linear(dim, dim)

        def forward(
            self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
        ) -> Tensor:
            return self.gain * self.layer(x)

    class Small(Loss):
        trains = (HVP,)

        def __init__(self, scale: DataScale, power: int = 2) -> None:
            self.scale, self.power = scale, power

        def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: torch.Generator) -> Tensor:
            return (x0 / self.scale).abs().pow(self.power).flatten(1).mean(1)

    NETWORKS.register("linear-test", Linear)
    LOSSES.register("small-test", Small)
    network = NETWORKS.build("linear-test", {"gain": 2}, {ITEM_SHAPE: (3,), CLASS_COUNT: 4})
    assert (network.gain, network.kinds, network(torch.ones(2, 3), torch.zeros(2)).shape) == (2, 4, (2, 3))
    assert not network.can_recompute
    loss = LOSSES.build("small-test", {}, {DATA_SCALE: 2.0})
    assert torch.equal(loss(None, torch.full((2, 3), 4.0), None, torch.Generator()), torch.full((2,), 4.0))
    assert "small-test" in losses_for("hvp")
    assert "small-test" not in losses_for("score")
    with pytest.raises(RequestError, match=r"loss other: it must derive from hgfctl.engine.losses.loss.Loss"):
        LOSSES.register("other", Linear)


@pytest.mark.usefixtures("clean")
def test_a_users_force_by_name() -> None:
    class Spring(Force):
        def __init__(self, size: ItemShape, k: float = 1.0) -> None:
            self.size, self.k = size, k

        def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
            return -self.k * x

    FORCES.register("spring-test", Spring)
    FORCES.register("ready-test", Spring((2,), 3.0))
    FORCES.register("drag-test", lambda x, v, t: -v)
    x, t = torch.randn(4, 2), torch.tensor(0.0)
    context = ForceContext((2,))
    spring = chosen({"name": "spring-test", "k": 2}, context)
    assert isinstance(spring, Spring)
    assert spring.size == (2,)
    assert torch.equal(spring(x, x, t), -2 * x)
    assert torch.equal(chosen("ready-test", context)(x, x, t), -3 * x)
    drag = chosen("drag-test", context)
    assert drag.depends_on_velocity
    assert torch.equal(drag(x, 2 * x, t), -2 * x)
    with pytest.raises(RequestError, match="only those have options: leave out k"):
        chosen({"name": "drag-test", "k": 1}, context)


def test_losses_and_models_fit_as_they_say() -> None:
    assert losses_for("hvp") == ["hvp", "consistency"]
    assert losses_for("consistency") == ["consistency"]
    assert losses_for("noise-predictor") == ["hvp"]
    assert losses_for("noised-score") == ["denoising-hsm", "denoising-dsm"]
    assert losses_for("score") == [
        *("hsm", "hsm-galerkin", "dsm", "dsm-antithetic", "ssm", "ssm-vr", "ism", "esm"),
    ]
    assert [name for name in MODELS if needs_flow(name)] == ["hvp", "consistency", "noise-predictor"]


def test_names_are_listed_without_torch() -> None:
    rooms = ["data", "features", "flows", "flows.forces", "flows.priors", "flows.velocity_laws"]
    rooms += ["losses", "models", "models.networks"]
    code = "\n".join(f"import hgfctl.engine.{room} as r" for room in rooms)
    code += "\nimport sys\nassert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
