"""Options of samplers: as components have them, as flat keys of older files, and as a new solver declares them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from pydantic import PositiveFloat
from torch import Tensor

from hgfctl.config import Component, SampleSection
from hgfctl.engine.compatibility import with_defaults
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.hmc import HMCSampler
from hgfctl.engine.sampling.langevin import LangevinSampler
from hgfctl.engine.sampling.options import configured
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.adaptive import DormandPrince
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError
from hgfctl.presets import configuration, load, overridden
from tests.contracts.test_models import built

OLD_DEFAULTS = {
    **{"nfe": 20, "sampler": "auto", "grid": "auto", "step": None, "flight": 1.5, "friction": 1.0, "tolerance": 1e-5},
    **{"churn": 0.0, "churn_levels": [0.0, 1000.0], "churn_noise": 1.0},
    **{"restart": 0, "restart_levels": [0.06, 0.3], "restart_steps": 3},
}
"""A section as files held it before samplers had options."""

SAME: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("hvp", {"sampler": "dopri5", "tolerance": 1e-3}, {"sampler": {"name": "dopri5", "tolerance": 1e-3}}),
    ("hvp", {"churn": 20, "churn_noise": 1.003}, {"sampler": {"name": "heun", "churn": 20, "churn_noise": 1.003}}),
    ("hvp", {"sampler": "ab4", "restart": 2}, {"sampler": {"name": "ab4", "restart": 2}}),
    ("hvp", {"restart": 1, "restart_levels": [0.1, 0.5]}, {"sampler": {"restart": 1, "restart_levels": [0.1, 0.5]}}),
    ("hvp", {"tolerance": 1e-3, "step": 0.3}, {"sampler": "auto"}),
    ("score", {"step": 0.2, "flight": 1.0}, {"sampler": {"name": "hmc", "step": 0.2, "flight": 1.0}}),
    ("score", {"step": 0.2, "friction": 3.0}, {"sampler": {"step": 0.2}}),
    ("noised-score", {"step": 0.4, "friction": 2.0}, {"sampler": {"name": "langevin", "step": 0.4, "friction": 2.0}}),
    ("noised-score", {"sampler": "ab4", "step": 0.4}, {"sampler": "ab4"}),
    ("consistency", {"sampler": "consistency"}, {"sampler": "auto"}),
]


@pytest.mark.parametrize(("model", "flat", "nested"), SAME)
def test_flat_keys_and_options_give_the_same_samples_bit_for_bit(
    model: str, flat: dict[str, Any], nested: dict[str, Any]
) -> None:
    samples = []
    for section in (SampleSection(**{**OLD_DEFAULTS, "nfe": 400, **flat}), SampleSection(nfe=400, **nested)):
        sampler = sampler_for(built(model), (2,), 3, SamplingRequest.of(section))
        (batch,) = sampler.batches(torch.arange(3), 3)
        samples.append((sampler.identity, batch.x))
    assert samples[0][0] == samples[1][0]
    assert torch.equal(samples[0][1], samples[1][1])


def test_options_reach_the_sampler() -> None:
    """So that two defaults are not what was the same above."""
    section = SampleSection(step=0.2, flight=1.0, friction=2.0)
    hmc = sampler_for(built("score"), (2,), 3, SamplingRequest.of(section))
    langevin = sampler_for(built("noised-score"), (2,), 3, SamplingRequest.of(section))
    assert isinstance(hmc, HMCSampler)
    assert (hmc.step, hmc.flight) == (0.2, 1.0)
    assert isinstance(langevin, LangevinSampler)
    assert (langevin.step, langevin.friction) == (0.2, 2.0)
    assert configured(Component(name="dopri5", options={"tolerance": 1e-3}), 99) == DormandPrince(1e-3, 99)


def test_a_section_of_an_old_file_is_that_of_the_new_form() -> None:
    assert SampleSection(**OLD_DEFAULTS) == SampleSection(nfe=20)
    assert SampleSection(nfe=20).model_dump(mode="json") == {"nfe": 20, "sampler": {"name": "auto"}, "grid": "auto"}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["sample.tolerance=1e-3", "sample.sampler=dopri5"], {"name": "dopri5", "tolerance": 1e-3}),
        (["sample.sampler=dopri5", "sample.sampler.tolerance=1e-3"], {"name": "dopri5", "tolerance": 1e-3}),
        (["sample.sampler={name: dopri5, tolerance: 1e-3}"], {"name": "dopri5", "tolerance": 1e-3}),
        (["sample.sampler={name: dopri5, tolerance: 1e-3}", "sample.tolerance=1e-4"], {"tolerance": 1e-4}),
        (["sample.tolerance=1e-4", "sample.sampler={name: dopri5, tolerance: 1e-3}"], {"tolerance": 1e-3}),
        (["sample.sampler={name: heun, churn: 5}", "sample.churn=0"], {"name": "heun"}),
        (["sample.sampler=dopri5"], {"name": "dopri5", "tolerance": 1e-5}),
        (["sample.restart=2", "sample.sampler=ab4"], {"restart": 2, "restart_levels": [0.06, 0.3], "restart_steps": 3}),
    ],
)
def test_the_later_of_two_settings_counts_in_either_form(settings: list[str], wanted: dict[str, Any]) -> None:
    config = with_defaults(load("ring-oscillation", settings))
    shown = yaml.safe_load(config.to_yaml())["sample"]
    assert wanted.items() <= shown["sampler"].items()
    assert "churn" not in shown["sampler"]
    assert set(shown) == {"nfe", "sampler", "grid"}
    assert configuration(yaml.safe_load(config.to_yaml()), "its own YAML") == config


@pytest.mark.parametrize(
    ("before", "settings", "told", "wanted"),
    [
        ({"restart": 2, "sampler": "ab4"}, ["sample.sampler=heun"], {}, {"name": "heun", "restart": 2}),
        ({"tolerance": 1e-3}, ["sample.sampler=dopri5"], {}, {"name": "dopri5", "tolerance": 1e-3}),
        ({"sampler": {"name": "dopri5", "tolerance": 1e-3}}, [], {"tolerance": 1e-5}, {"name": "dopri5"}),
        ({"sampler": {"name": "dopri5", "tolerance": 1e-3}}, ["sample.sampler=heun"], {}, {"name": "heun"}),
        ({"sampler": "heun"}, ["sample.churn=3"], {"churn": 4.0}, {"name": "heun", "churn": 4.0}),
    ],
)
def test_what_a_checkpoint_says_is_changed_by_a_command(
    before: dict[str, Any], settings: list[str], told: dict[str, Any], wanted: dict[str, Any]
) -> None:
    config = load("ring-oscillation")
    config = config.model_copy(update={"sample": SampleSection(**before)})
    assert overridden(config, settings, "sample", told).sample.sampler.flat() == wanted


@dataclass(frozen=True)
class Theta(Solver):
    """x' = x + h V(x + theta h V(x, t), t + theta h): the midpoint method for theta = 1/2."""

    options: ClassVar[tuple[str, ...]] = ("theta",)

    theta: PositiveFloat = 0.5

    @property
    def name(self) -> str:
        return "theta"

    def steps(self, nfe: int) -> int:
        return nfe // 2

    def cost(self, steps: int) -> int:
        return 2 * steps

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        x = start
        yield x
        for t, end in pairwise(times):
            h = end - t
            x = x + h * velocity(x + self.theta * h * velocity(x, t), t + self.theta * h)
            yield x


THETA = Theta()


@pytest.fixture
def theta(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line of the registry."""
    monkeypatch.setitem(SOLVERS._entries, "theta", f"{__name__}:THETA")


@pytest.mark.usefixtures("theta")
def test_a_new_solver_with_an_option_is_one_class_and_one_line() -> None:
    config = with_defaults(load("ring-oscillation", ["sample.sampler=theta"]))
    assert config.sample.sampler.flat() == {"name": "theta", "theta": 0.5}
    config = with_defaults(load("ring-oscillation", ["sample.sampler=theta", "sample.sampler.theta=0.25"]))
    by_command = overridden(load("ring-oscillation"), ["sample.sampler.theta=0.25"], "sample", {}).sample
    request = SamplingRequest.of(by_command, 10, "theta")
    assert request.sampler == config.sample.sampler
    sampler = sampler_for(built("hvp"), (2,), 3, request)
    assert (sampler.method, sampler.nfe) == ("theta", 10)
    chosen = plan(Oscillation(), 10, config.sample.sampler)
    assert chosen.solver == Theta(0.25)
    assert torch.equal(chosen.times, plan(Oscillation(), 10, "theta").times)
    restarted = plan(Oscillation(), 40, Component(name="theta", options={"theta": 0.25, "restart": 1}))
    assert restarted.solver.name == "theta+restart"


@pytest.mark.usefixtures("theta")
@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ({"name": "theta", "thata": 1}, "unknown option 'sampler.thata' of theta; did you mean 'sampler.theta'"),
        ({"name": "theta", "theta": -1}, "sampler.theta: input should be greater than 0, not -1"),
        ({"name": "theta", "theta": "wide"}, "sampler.theta: .*number.*'wide'"),
        ({"name": "thata"}, "unknown sampler 'thata'; did you mean 'theta'"),
        ({"name": "auto", "thata": 1}, "unknown option 'sampler.thata' of auto; did you mean 'sampler.theta'"),
        ({"name": "auto", "theta": -1}, "sampler.theta: input should be greater than 0"),
        ({"name": "heun", "theta": 1}, "unknown option 'sampler.theta' of heun"),
        ({"name": "hmc", "friction": 1}, "unknown option 'sampler.friction' of hmc"),
        ({"name": "ab4", "churn": 3}, "churn is for heun, not ab4; `sampler=heun`"),
        ({"name": "dopri5", "restart": 1}, "dopri5 keeps a tolerance; restart is for the other samplers"),
        ({"name": "heun", "churn": 1, "restart": 1}, "churn and restart both put noise back in; choose one"),
        ({"name": "heun", "churn_levels": [3, 1]}, r"sampler.churn_levels \[3, 1\]: the lower noise level comes first"),
        ({"name": "flow"}, "unknown sampler 'flow'"),
    ],
)
def test_wrong_options_are_named(sampler: dict[str, Any], words: str) -> None:
    config = load("ring-oscillation").model_copy(update={"sample": SampleSection(sampler=sampler)})
    with pytest.raises(RequestError, match=words):
        with_defaults(config)


@pytest.mark.parametrize(
    ("model", "section", "words"),
    [
        ("score", {"restart": 1}, "churn and restart are for HVPs; hmc, which samples this model, takes neither"),
        ("noised-score", {"churn": 1}, "churn and restart are for HVPs; langevin"),
        ("score", {"grid": "cosine"}, "grid 'cosine' is for HVPs; hmc, which samples this model, takes none"),
        ("consistency", {"churn": 1}, "consistency puts noise in by itself"),
        (
            "consistency",
            {"sampler": {"name": "consistency", "step": 1}},
            "unknown option 'sampler.step' of consistency",
        ),
        ("hvp", {"sampler": "hmc"}, "sampler 'hmc' is not for this model; auto is"),
        ("score", {"sampler": "langevin"}, "sampler 'langevin' is not for this model; hmc is"),
        ("score", {"sampler": "heun"}, "a score is sampled by hmc"),
        ("consistency", {"sampler": "ab4"}, "follows a flow, and a consistency model is sampled by consistency"),
        ("hvp", {"sampler": "hein"}, "unknown sampler 'hein'; did you mean 'heun'"),
    ],
)
def test_what_a_model_does_not_take_is_refused(model: str, section: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        sampler_for(built(model), (2,), 3, SamplingRequest.of(SampleSection(**section), 40))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("sample.chrun=1", "did you mean 'sample.churn'"),
        ("sample.churn=-1", "sample.churn: input should be greater than or equal to 0, not -1"),
        ("sample.tolerance=0", "sample.tolerance: input should be greater than 0, not 0"),
        ("sample.restart_levels=[0.3, 0.06]", r"restart_levels \[0.3, 0.06\]: the lower noise level comes first"),
    ],
)
def test_wrong_flat_keys_are_named_as_ever(setting: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        load("ring-oscillation", [setting])


def test_what_loss_consistency_trains_is_a_model_of_its_own(tmp_path: Path) -> None:
    """Where a file names no model, or an HVP as older ones do; other losses and other models stay as they are."""
    for settings in ([], ["model=hvp"], ["model.name=hvp"], ["model=consistency"]):
        assert load("digits-oscillation-consistency", settings).model == Component(name="consistency")
    assert load("digits-oscillation-consistency", ["loss=hvp"]).model.name == "hvp"
    assert load("digits-oscillation").model.name == "hvp"
    old = yaml.safe_load(with_defaults(load("digits-oscillation-consistency")).to_yaml())
    old |= {"model": {"name": "hvp"}, "sample": {**OLD_DEFAULTS, "nfe": 2, "sampler": "consistency"}}
    config = with_defaults(configuration(old, "an old run"))
    assert config.model.name == "consistency"
    assert {**config.model_dump(), "sample": None} == {
        **with_defaults(load("digits-oscillation-consistency")).model_dump(),
        "sample": None,
    }
    with pytest.raises(RequestError, match="loss 'hvp' does not train model 'consistency'"):
        with_defaults(load("digits-oscillation", ["model=consistency"]))
    with pytest.raises(RequestError, match="does not train model 'noise-predictor'"):
        with_defaults(load("digits-oscillation-consistency", ["model={name: noise-predictor, clock: {name: vp}}"]))


@pytest.mark.parametrize("key", ["sample.churn", "sample.sampler.churn"])
def test_a_configuration_that_is_handed_on_keeps_its_options(key: str) -> None:
    """A dump of the values that were set holds the sampler's options."""
    config = load("ring-oscillation", {key: 3})
    again = configuration(config.model_dump(mode="json", exclude_unset=True), "again")
    assert again.sample.sampler.options == {"churn": 3.0}


@pytest.mark.parametrize("stored", [None, 1e-2])
def test_an_option_waits_for_the_sampler_that_takes_it(stored: float | None) -> None:
    """The configuration names ab3, the command dopri5 and a tolerance, in either order; a stored one is kept, too."""
    keys = {"sample.sampler": "ab3"} | ({} if stored is None else {"sample.tolerance": stored})
    config = load("ring-oscillation", keys)
    config = configuration(config.model_dump(mode="json"), "a checkpoint")
    assert config.sample.sampler.options == {}
    given = overridden(config, [], "sample", {"tolerance": 0.1}).sample
    assert SamplingRequest.of(given, sampler="dopri5").sampler.options == {"tolerance": 0.1}
    kept = SamplingRequest.of(config.sample, sampler="dopri5").sampler.options
    assert kept == ({} if stored is None else {"tolerance": stored})
    by_set = overridden(config, ["sample.sampler=dopri5"], "sample", {"tolerance": 0.1}).sample
    assert by_set.sampler.options == {"tolerance": 0.1}


def test_options_of_scores_wait_beside_a_solver() -> None:
    """A noise-conditional score whose configuration names ab4 is sampled by langevin with its step and friction."""
    keys = {"sample.sampler": "ab4", "sample.step": 0.02, "sample.friction": 4}
    section = configuration(load("gmm-denoising-hsm", keys).model_dump(mode="json"), "a checkpoint").sample
    assert SamplingRequest.of(section, sampler="langevin").sampler.options == {"step": 0.02, "friction": 4.0}
    assert SamplingRequest.of(section.changed(step=0.3), sampler="langevin").sampler.options["step"] == 0.3
