"""Presets: inheritance, overrides, and every way to get them wrong."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hgfctl.config import merged
from hgfctl.engine.compatibility import with_defaults
from hgfctl.errors import RequestError
from hgfctl.presets import configuration, description, load, names, overrides, parse

FAMILIES = {
    "digits": ("digits-diffusion", "digits-flow-matching", "digits-oscillation"),
    "ring": ("ring-diffusion", "ring-flow-matching", "ring-oscillation"),
}


@pytest.mark.parametrize("name", names())
def test_shipped_presets_are_whole(name: str) -> None:
    """Each resolves, describes itself in a line, and reads back from its own YAML unchanged."""
    config = with_defaults(load(name))
    assert config.preset == name
    assert 10 < len(description(name)) < 110
    assert configuration(yaml.safe_load(config.to_yaml()), name) == config
    assert with_defaults(config) == config


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_presets_of_a_family_differ_in_the_flow_alone(family: tuple[str, ...]) -> None:
    first, *others = (load(name).model_dump(exclude={"preset", "description", "flow"}) for name in family)
    assert all(other == first for other in others)


def test_a_renamed_component_forgets_the_old_options() -> None:
    base = {"flow": {"name": "oscillation", "alpha": 2.0}, "train": {"batch": 1}}
    assert merged(base, {"flow": {"name": "diffusion"}}) == {"flow": {"name": "diffusion"}, "train": {"batch": 1}}
    assert merged(base, {"flow": {"alpha": 3.0}})["flow"] == {"name": "oscillation", "alpha": 3.0}
    assert merged(base, {"flow": "diffusion"})["flow"] == {"name": "diffusion"}


def test_settings_override_with_yaml_types() -> None:
    config = load(
        "digits-oscillation", ["train.lr=1e-4", "train.batch=64", "flow.alpha=2", "network.channel_mult=[1, 2, 2]"]
    )
    assert config.train.lr == 1e-4
    assert config.train.batch == 64
    assert config.flow.options["alpha"] == 2
    assert config.network.options["channel_mult"] == [1, 2, 2]


@given(
    key=st.sampled_from(["train.batch", "a", "x.y.z"]), value=st.integers() | st.floats(allow_nan=False) | st.booleans()
)
def test_any_plain_value_survives_a_setting(key: str, value: float) -> None:
    tree = overrides([f"{key}={yaml.safe_dump(value).splitlines()[0]}"])
    for part in key.split("."):
        tree = tree[part]
    assert tree == value


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["train.bach=3"], "unknown key 'train.bach'.*did you mean 'train.batch'"),
        (["trian.batch=3"], "unknown key 'trian'.*did you mean 'train'"),
        (["train.batch=many"], "train.batch: .*integer.*'many'"),
        (["train.batch=0"], "train.batch: .*greater than 0"),
        (["train.lr=-1"], "train.lr: .*greater than 0"),
        (["train.accumulate=3"], "accumulate 3 does not divide batch 64"),
        (["train.batch"], "key=value"),
        (["=3"], "key=value"),
        (["train.batch=[1,"], "`set=train.batch=.*line 1, column"),
        (["flow=3"], "flow: "),
    ],
)
def test_wrong_settings_are_named(settings: list[str], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        load("digits-oscillation", settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["flow.name=osculation"], "unknown flow 'osculation'; did you mean 'oscillation'"),
        (["flow.alhpa=2"], "unknown option 'flow.alhpa' of oscillation; did you mean 'flow.alpha'"),
        (["flow.alpha=fast"], "flow.alpha: .*number.*'fast'"),
        (["network.name=transformer"], "unknown network 'transformer'; known: adm, dit, edm2, mlp, perceptron, unet"),
        (["data.split=test"], "data.split: .*'test'"),
    ],
)
def test_wrong_components_are_named(settings: list[str], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        with_defaults(load("digits-oscillation", settings))


def test_users_extend_shipped_presets(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: digits-oscillation\ntrain:\n  lr: 1e-5\n")
    (tmp_path / "yours.yml").write_text("extends: mine.yaml\nflow:\n  name: diffusion\n")
    config = load(str(tmp_path / "yours.yml"))
    assert config.preset == "yours"
    assert config.train.lr == 1e-5
    assert config.flow.name == "diffusion"
    assert config.data.name == "digits"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train:\n  batch: [1, 2\nflow: x\n", r"line 3, column \d+"),
        ("train:\n\tbatch: 1\n", r"line 2, column 1"),
        ("train: {lr: 1}\ntrain: {lr: 2}\n", "'train' stands twice"),
        ("- a list\n", "mapping"),
        ("extends: digits-osculation\n", "did you mean 'digits-oscillation'"),
        ("extends: wrong.yaml\n", "extends itself"),
        ("flow: oscillation\n", "data: a value is needed"),
        ("data: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=words) as failure:
        load(str(path))
    assert "wrong" in str(failure.value)


def test_unknown_presets_are_guessed() -> None:
    with pytest.raises(RequestError, match="did you mean 'digits-oscillation'"):
        load("digit-oscilation")
    with pytest.raises(RequestError, match=r"no preset file nowhere\.yaml"):
        load("nowhere.yaml")


def test_exponents_without_a_point_are_numbers() -> None:
    assert parse("[1e-3, 2E5, -1e+2, 1.5e3, 1_000, 1e3x]", "here") == [1e-3, 2e5, -1e2, 1500.0, 1000, "1e3x"]
