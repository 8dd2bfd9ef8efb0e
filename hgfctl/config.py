"""A typed configuration: data -> flow -> network -> loss -> training -> sampling; no torch here.

The options of a component (a flow, a network, a data set) are known by its own constructor; here it is a name with
options, checked when the engine builds it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Component(_Section):
    """A name of one of the engine's registries, and the options of what it stands for; flat in YAML."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def from_flat(cls, given: Any) -> Any:
        """From YAML; a bare string is a name without options."""
        if isinstance(given, str):
            return {"name": given}
        if isinstance(given, Mapping) and "name" in given and set(given) != {"name", "options"}:
            return {"name": given["name"], "options": {k: v for k, v in given.items() if k != "name"}}
        return given

    @model_serializer
    def flat(self) -> dict[str, Any]:
        """As in YAML: the name among the options."""
        return {"name": self.name, **self.options}


WIDEST_EMA = 12**-0.5
"""Relative width of the plain mean over all of training; no power-function average is wider."""


class TrainSection(_Section):
    """How to train; durations are counted in images (items), as EDM counts them."""

    images: PositiveInt
    batch: PositiveInt = 256
    accumulate: PositiveInt = 1
    """Parts that a batch is split into, to save memory; the gradient is that of the whole batch."""
    lr: PositiveFloat = 1e-3
    ramp: NonNegativeInt = 0
    """Images over which the learning rate rises linearly from 0."""
    decay: float = Field(0.0, ge=0, le=1)
    """Share of the training, at its end, over which the learning rate falls linearly to 0."""
    betas: tuple[NonNegativeFloat, NonNegativeFloat] = (0.9, 0.999)
    half_life: PositiveInt = 500_000
    """Half-life of the weights' exponential moving average, in images; never above 5 % of the images seen."""
    seed: int = 0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Precision of the network's products: tf32 rounds them to 10 bits on recent GPUs, bf16 runs convolutions and
    products in bfloat16 (autocast). Weights, averages and losses are float32 in all three."""
    recompute: bool = False
    """Compute activations again in the backward pass, rather than keep them: less memory, a third more time."""
    compile: bool = False
    """Compile the network first (torch.compile): minutes at the start, faster steps on a GPU."""
    power_emas: tuple[PositiveFloat, ...] = ()
    """Relative widths of power-function averages besides; two, such as 0.05 and 0.1, make `hgfctl ema` possible."""
    log_every: PositiveInt = 50
    """Steps."""
    tensorboard: bool = False
    """Write TensorBoard's event files into the run, too."""
    save_every: PositiveInt | None = None
    """Images between checkpoints; a tenth of `images` when left out."""
    sample_every: PositiveInt | None = None
    """Images between sample grids; as `save_every` when left out."""
    save_minutes: PositiveFloat = 15
    """Minutes after which the state is saved, however few images were seen; it takes the place of the last such one."""
    keep: PositiveInt = 2
    """Training states to keep."""

    @model_validator(mode="after")
    def consistent(self) -> "TrainSection":
        """Raises ValueError where two values contradict each other."""
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch {self.batch}")
        for sigma_rel in self.power_emas:
            if sigma_rel > WIDEST_EMA:
                raise ValueError(f"power_emas are relative widths, at most {WIDEST_EMA:.3f}, and {sigma_rel} is not")
        return self

    @property
    def steps(self) -> int:
        """Steps of `batch` images, the last one whole."""
        return -(-self.images // self.batch)


class _FlatSampleKeys(_Section):
    """Options of samplers as keys of the section itself, as they were written before samplers had options.

    They are read, checked, and moved into `sampler`. One that is not for the sampler that the section names waits here,
    and is written, for another sampler may be chosen later.
    """

    step: PositiveFloat | None = Field(default=None, exclude=True, repr=False)
    flight: PositiveFloat | None = Field(default=None, exclude=True, repr=False)
    friction: PositiveFloat | None = Field(default=None, exclude=True, repr=False)
    tolerance: PositiveFloat | None = Field(default=None, exclude=True, repr=False)
    churn: NonNegativeFloat | None = Field(default=None, exclude=True, repr=False)
    churn_levels: tuple[NonNegativeFloat, PositiveFloat] | None = Field(default=None, exclude=True, repr=False)
    churn_noise: PositiveFloat | None = Field(default=None, exclude=True, repr=False)
    restart: NonNegativeInt | None = Field(default=None, exclude=True, repr=False)
    restart_levels: tuple[PositiveFloat, PositiveFloat] | None = Field(default=None, exclude=True, repr=False)
    restart_steps: PositiveInt | None = Field(default=None, exclude=True, repr=False)


FLAT_SAMPLE_KEYS = tuple(_FlatSampleKeys.model_fields)
FLAT_DEFAULTS: dict[str, Any] = {
    **{"flight": 1.5, "friction": 1.0, "tolerance": 1e-5},
    **{"churn": 0.0, "churn_levels": (0.0, 1000.0), "churn_noise": 1.0},
    **{"restart": 0, "restart_levels": (0.06, 0.3), "restart_steps": 3},
}
"""Values of flat keys that old files hold where nobody chose one."""
FLAT_KEYS_FOR: dict[str, tuple[str, ...]] = {
    "step": ("hmc", "langevin"),
    "flight": ("hmc",),
    "friction": ("langevin",),
    "tolerance": ("dopri5",),
}
"""Flat key -> the samplers that took it; keys that are not here were for all."""
AUTO = "auto"
"""The sampler that stands for the model's own, and the grid that stands for what suits the sampler."""


class SampleSection(_FlatSampleKeys):
    """How to sample where the command line does not say."""

    nfe: PositiveInt = 35
    sampler: Component = Component(name=AUTO)
    """A solver of flows, or hmc, langevin or consistency, with its options; `auto` is what suits the model, and takes
    of the options those that are for it."""
    grid: str = AUTO

    @field_validator("sampler", mode="before")
    @classmethod
    def named(cls, given: Any) -> Any:
        """Options without a name are those of `auto`."""
        return {"name": AUTO, **given} if isinstance(given, Mapping) and "name" not in given else given

    @model_validator(mode="after")
    def moved(self) -> "SampleSection":
        """Flat keys become options of the sampler. Raises ValueError where the lower of two levels is not the first."""
        options = dict(self.sampler.options)
        for key in FLAT_SAMPLE_KEYS:
            value = getattr(self, key)
            if isinstance(value, tuple) and not value[0] < value[1]:
                raise ValueError(f"{key} [{value[0]:g}, {value[1]:g}]: the lower noise level comes first")
            fits = self.sampler.name in (AUTO, *FLAT_KEYS_FOR.get(key, (self.sampler.name,)))
            chosen = value is not None and value != FLAT_DEFAULTS.get(key)
            if chosen and fits:
                options[key] = list(value) if isinstance(value, tuple) else value
            if fits or not chosen:
                object.__setattr__(self, key, None)
        object.__setattr__(self, "sampler", Component(name=self.sampler.name, options=options))
        if options:
            self.model_fields_set.add("sampler")  # or a dump of what was set would lose them
        return self

    @model_serializer(mode="wrap")
    def with_waiting(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The section's own keys, and the flat ones that wait for a sampler of theirs."""
        return {**handler(self), **self._waiting}

    @property
    def _waiting(self) -> dict[str, Any]:
        return {key: value for key in FLAT_SAMPLE_KEYS if (value := getattr(self, key)) is not None}

    def changed(self, **change: Any) -> "SampleSection":
        """The section with other values; None keeps what is there. Options that suit another sampler, too, stay."""
        given = {key: value for key, value in change.items() if value is not None}
        if isinstance(given.get("sampler"), Component):
            given["sampler"] = given["sampler"].flat()
        return SampleSection.model_validate(merged(self.before(given), given))

    def before(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """As a mapping that a change is merged into: options that had keys of their own survive another sampler."""
        if "sampler" not in change:
            return self.model_dump(mode="json")
        options = {key: value for key, value in self.sampler.options.items() if key not in FLAT_SAMPLE_KEYS}
        kept = {key: value for key, value in self.sampler.options.items() if key in FLAT_SAMPLE_KEYS}
        return {
            "nfe": self.nfe,
            "sampler": {"name": self.sampler.name, **options},
            "grid": self.grid,
            **self._waiting,
            **kept,
        }


class InitSection(_Section):
    """The checkpoint that training starts from, and that a loss with a teacher learns from; `train --init` sets it."""

    path: str
    """A file or a run folder. A run keeps a copy, init.safetensors."""
    checksum: str | None = None
    """The file's own SHA-256, written down when training starts."""


class Config(_Section):
    """A whole experiment: data -> flow -> network -> loss -> training -> sampling."""

    preset: str
    description: str = ""
    data: Component
    augment: Component | None = None
    model: Component = Component(name="hvp")
    flow: Component | None = None
    """The flow of an HVP; a score has none."""
    network: Component
    loss: Component = Component(name="hvp")
    times: Component = Component(name="log-normal")
    init: InitSection | None = None
    train: TrainSection
    sample: SampleSection = SampleSection()

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, width=110)


PARTS = ("force", "velocity", "prior")
"""Parts of a flow: a name, or a mapping of a name and options."""
COMPONENTS = ("data", "augment", "model", "flow", "network", "loss", "times")


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change`. A component that gets another name loses the options of the old
    one, but for a sampler that was `auto`."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if isinstance(value, str) and key in COMPONENTS:
            value = {"name": value}
        if key == "sample" and isinstance(old, Mapping) and isinstance(value, Mapping):
            old = _without_changed(old, value)
        if key in (*PARTS, "sampler") and isinstance(old, str | Mapping) and isinstance(value, str | Mapping):
            old, value = ({"name": part} if isinstance(part, str) else part for part in (old, value))
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "name" in value and old.get("name", value["name"]) != value["name"]
            renamed = renamed and not (key == "sampler" and old["name"] == AUTO)
            result[key] = dict(value) if renamed else merged(old, value)
        else:
            result[key] = value
    return result


def _without_changed(section: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A section of sampling without those options of its sampler that a change gives in the other of two forms."""
    inside, changed_inside = section.get("sampler"), change.get("sampler")
    nested = changed_inside if isinstance(changed_inside, Mapping) else {}
    kept = {key: value for key, value in section.items() if key not in FLAT_SAMPLE_KEYS or key not in nested}
    if isinstance(inside, Mapping):
        flat = {key for key in FLAT_SAMPLE_KEYS if key in change}
        kept["sampler"] = {key: value for key, value in inside.items() if key not in flat}
    return kept
