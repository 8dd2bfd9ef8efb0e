"""Presets: YAML -> a configuration. `extends` inherits, overrides change single values; no torch here."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    ValidationError,
)

from hgfctl.config import Config, merged
from hgfctl.errors import RequestError, unknown
from hgfctl.registry import first_problem


def names() -> list[str]:
    """The shipped presets, without the bases that others extend."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if not path.stem.startswith("_"))


def load(preset: str, settings: Mapping[str, Any] | Iterable[str] = ()) -> Config:
    """The configuration of a preset.

    Args:
        preset: a shipped name, or the path of a YAML file (it ends in .yaml or .yml).
        settings: see `overrides`.

    Raises:
        RequestError: unknown preset, key or value; YAML syntax (with line and column).
    """
    path = _find(preset)
    return configuration({"preset": path.stem, **merged(_tree(path, ()), overrides(settings))}, f"preset {preset}")


def configuration(tree: Mapping[str, Any], where: str) -> Config:
    """A checked configuration from nested mappings.

    Raises:
        RequestError: naming `where`, the key and what is wrong.
    """
    try:
        return Config.model_validate(_migrated(tree))
    except ValidationError as error:
        _refuse_unknown(error, where)
        raise RequestError(f"{where}: {first_problem(error)}") from None


def _migrated(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration as it is written now: a model that loss `consistency` trains was called an HVP once."""
    model, loss = (_name(tree.get(key)) for key in ("model", "loss"))
    if loss != "consistency" or model not in (None, "hvp"):
        return tree
    own = tree.get("model")
    return {**tree, "model": {**(own if isinstance(own, Mapping) else {}), "name": "consistency"}}


def _name(component: Any) -> Any:
    return component.get("name") if isinstance(component, Mapping) else component


def overridden(
    config: Config,
    settings: Iterable[str],
    section: str,
    given: Mapping[str, Any],
    where: str = "the command line",
) -> Config:
    """A configuration with another `section`.

    Args:
        config: of a checkpoint, say.
        settings: "section.key=value", see `overrides`.
        section: the only one that may be changed.
        given: key -> value of that section, from options of a command or call; None where they were not given.
        where: the place that an error names.

    Raises:
        RequestError: another section, or what the section does not admit.
    """
    change = overrides(settings)
    if set(change) - {section}:
        raise RequestError(
            f"`set`: only {section}.KEY can be changed here, and {min(set(change) - {section})} is not one"
        )
    chosen = {key: value for key, value in given.items() if value is not None}
    change = merged(change, {section: chosen})
    tree = config.model_dump(mode="json", exclude_none=True)
    tree = merged({**tree, "sample": config.sample.before(change.get("sample", {}))}, change)
    return configuration(tree, where)


def description(name: str) -> str:
    """The one line that a shipped preset says of itself."""
    return str(_tree(_find(name), ()).get("description", ""))


def overrides(settings: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    """Overrides as nested mappings.

    Args:
        settings: `["train.lr=1e-3", ...]`, values in YAML; or `{"train.lr": 1e-3}` or `{"train": {"lr": 1e-3}}`.

    Raises:
        RequestError: not of the form key.key=value.
    """
    if isinstance(settings, Mapping):
        return _nested(settings)
    tree: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise RequestError(f"`set={setting}`: write it as key=value, such as train.lr=1e-3")
        leaf: Any = parse(value, f"`set={setting}`")
        for part in reversed(parts):
            leaf = {part: leaf}
        tree = merged(tree, leaf)
    return tree


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"train.lr": 1} -> {"train": {"lr": 1}}, with paths as text."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        parts = str(key).split(".")
        if not all(parts):
            raise RequestError(f"`{key}`: a key is written as in train.lr")
        leaf: Any = _nested(value) if isinstance(value, Mapping) else value
        leaf = fspath(leaf) if isinstance(leaf, PathLike) else leaf
        for part in reversed(parts):
            leaf = {part: leaf}
        tree = merged(tree, leaf)
    return tree


def parse(text: str, where: str) -> Any:
    """YAML -> plain values.

    Raises:
        RequestError: bad syntax, or a key that stands twice; with line and column.
    """
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RequestError(f"{where}{place}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{where}: {str(error).splitlines()[0]}") from None


def _tree(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    if path in children:
        raise RequestError(f"{path.name} extends itself, by way of {children[-1].name}")
    try:
        tree = parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read preset {path}: {error}") from None
    if not isinstance(tree, dict):
        raise RequestError(f"{path}: a preset is a mapping of keys to values")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    return merged(_tree(_find(str(base), beside=path), (*children, path)), tree)


def _find(preset: str, beside: Path | None = None) -> Path:
    shipped = _folder() / f"{preset}.yaml"
    if re.fullmatch(r"[\w.-]+", preset) and shipped.is_file():
        return shipped
    if preset.endswith((".yaml", ".yml")):
        path = (beside.parent / preset if beside else Path(preset).expanduser()).resolve()
        if path.is_file():
            return path
        raise RequestError(f"no preset file {preset}; shipped presets: {', '.join(names())}")
    raise unknown("preset", preset, names(), where=f"in {beside}" if beside else "")


@cache
def _folder() -> Path:
    package = Path(__file__).parent
    installed = package / "shipped_presets"
    return installed if installed.is_dir() else package.parent / "presets"


def _refuse_unknown(error: ValidationError, where: str) -> None:
    """A sentence with a guess for a key that is not in the schema."""
    for problem in error.errors():
        if problem["type"] == "extra_forbidden":
            *parents, key = (str(part) for part in problem["loc"])
            section: Any = Config
            for parent in parents:
                section = section.model_fields[parent].annotation
            dotted = [".".join((*parents, name)) for name in section.model_fields]
            raise unknown("key", ".".join((*parents, key)), dotted, where=f"in {where}")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its two traps: 1e-3 is a number, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
