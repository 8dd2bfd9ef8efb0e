"""One HTML file that holds everything: pictures as data URIs, no script, no request; opens offline, in the dark too."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from PIL import Image

from hgfctl.engine.paper.figure import FigureText, Panel
from hgfctl.version import __version__

TEMPLATE = Path(__file__).with_name("page.html")
TITLE = "Hamiltonian score matching and generative flows, figure by figure"
INTRODUCTION = (
    "Let data x₀ move with a random velocity v₀ under a force: dx = v dt, dv = F(x) dt. The Hamiltonian velocity "
    "predictor V(x, t) = E[vₜ | xₜ = x] is learned by regression, and dx/dt = V(x, t), run backwards in time, turns "
    "noise into data. The force decides which generative flow it is; and if V vanishes under a force, that force is "
    "the score of the data. This is the idea of Holderrieth, Xu and Jaakkola (NeurIPS 2024, arXiv 2410.20470).",
    "Here are those figures of the paper that need no photographs, as hgfctl draws them. Every number was measured, "
    "by the command that made this page or by the training of a network that it found.",
)
WIDE = 1.8
"""Width over height from which a picture is scrolled sideways on a phone rather than shrunk."""


def page(folder: Path, figures: Mapping[str, FigureText], colophon: Sequence[str]) -> str:
    """The whole document.

    Args:
        folder: where the pictures lie.
        figures: name -> its text, in order.
        colophon: lines at the end.
    """
    numbered = [(i, name, text) for i, (name, text) in enumerate(figures.items(), start=1)]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        version=escape(__version__),
        title=escape(TITLE),
        introduction=_paragraphs(INTRODUCTION),
        contents="\n".join(
            f'<li><a href="#{escape(name)}">{escape(text.title)}</a></li>' for _, name, text in numbered
        ),
        sections="\n".join(_section(folder, *one) for one in numbered),
        colophon=_paragraphs(colophon),
    )


def _section(folder: Path, number: int, name: str, text: FigureText) -> str:
    heading = f"{escape(name)}-title"
    rows = "\n".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(value)}</td></tr>' for what, value in text.measured
    )
    pictures = "\n".join(_card(folder, panel) for panel in text.panels)
    return f"""<section id="{escape(name)}" aria-labelledby="{heading}">
<h2 id="{heading}">{number}. {escape(text.title)}</h2>
<figure>
{pictures}
<figcaption>
{_paragraphs(text.caption)}
</figcaption>
</figure>
<table>
<caption>Measured in this run</caption>
<tbody>
{rows}
</tbody>
</table>
</section>"""


def _card(folder: Path, panel: Panel) -> str:
    path = folder / panel.file
    with Image.open(path) as image:
        width, height = image.size
    shape = " wide" if width > WIDE * height else " small" if width < 600 else ""
    scroll = ' tabindex="0" role="group" aria-label="Picture, can be scrolled sideways"' if shape == " wide" else ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<div class="card{shape}"{scroll}><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(panel.alt)}"></div>'
    )


def _paragraphs(texts: Sequence[str]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)
