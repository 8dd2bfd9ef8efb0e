"""A figure: pictures, what they show, and what was measured; kept in a folder, and found there again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hgfctl.engine.figures.picture import Picture
from hgfctl.storage.atomic import replacing


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Args:
        file: its name.
        alt: what can be seen, for those who cannot see it.
    """

    file: str
    alt: str


@dataclass(frozen=True)
class FigureText:
    """The words of a figure; plain text.

    Args:
        title: its heading.
        caption: paragraphs.
        measured: (what, its value), each measured in this very run.
        panels: its pictures.
        facts: the numbers, for programs.
    """

    title: str
    caption: Sequence[str]
    measured: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A figure's text, and a picture for each of its panels."""

    text: FigureText
    pictures: Sequence[Picture]

    def timed(self, seconds: float) -> "Figure":
        """With what making it took among its facts."""
        return replace(self, text=replace(self.text, facts={**self.text.facts, "seconds": round(seconds, 3)}))


def keep(folder: Path, name: str, figure: Figure, origin: Mapping[str, Any]) -> None:
    """Writes the pictures, and last of all <name>.json, which says that they are whole.

    Args:
        folder: to write to.
        name: of the figure.
        figure: itself.
        origin: all that it depends on.

    Raises:
        HgfctlError: a file cannot be written.
    """
    for panel, picture in zip(figure.text.panels, figure.pictures, strict=True):
        picture.save(folder / panel.file)
    with replacing(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps({"origin": origin, **asdict(figure.text)}, indent=1), encoding="utf-8")


def kept(folder: Path, name: str, origin: Mapping[str, Any]) -> FigureText | None:
    """The text that `keep` wrote, if it is whole and depends on the same things."""
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if found.pop("origin") != json.loads(json.dumps(origin)):
            return None
        stored = found.pop("plates") if "plates" in found else found.pop("panels")  # as older pages have them
        panels = [Panel(**panel) for panel in stored]
        measured = [(str(what), str(value)) for what, value in found.pop("measured")]
        text = FigureText(panels=panels, measured=measured, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return text if all((folder / panel.file).is_file() for panel in panels) else None
