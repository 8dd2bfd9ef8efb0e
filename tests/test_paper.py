"""Phase space, reflection, and the page of the paper's figures: laws of what is drawn, and the commands as used."""

import base64
import io
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hgfctl.engine.data.mixture import line_mixture
from hgfctl.engine.experiment import flow_of
from hgfctl.engine.figures.phase_space import Portrait, portrait
from hgfctl.engine.figures.picture import from_image
from hgfctl.engine.figures.spread import density_1d, density_2d, levels
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.paper.figure import Figure, FigureText, Panel, keep, kept
from hgfctl.engine.paper.page import page
from hgfctl.engine.parts import data_of
from hgfctl.engine.statistics.uniformity import decay, distance_from_uniform
from hgfctl.presets import load
from tests.conftest import Run

LINES = ("line-diffusion", "line-flow-matching", "line-oscillation", "line-reflection")


def drawn(preset: str, num: int = 4000, reach: float = 4.0) -> Portrait:
    config = load(preset)
    data = data_of(config)
    return portrait(preset, flow_of(config, data), data, num, seed=0, reach=reach)


def test_the_data_on_a_line_are_of_root_mean_square_one_half() -> None:
    law = line_mixture()
    x = torch.linspace(-3, 3, 60_001, dtype=torch.float64).unsqueeze(1)
    density, width = law.log_prob(x).exp(), 1e-4
    assert float(density.sum() * width) == pytest.approx(1, abs=1e-9)
    assert float((density * x[:, 0]).sum() * width) == pytest.approx(0, abs=1e-9)
    assert float((density * x[:, 0] ** 2).sum() * width) == pytest.approx(0.25, abs=1e-9)
    slope = torch.gradient(law.log_prob(x[25_000:35_000]), spacing=width)[0]
    assert (slope - law.score(x[25_000:35_000])[:, 0])[1:-1].abs().max() < 1e-3


def test_densities_are_densities_and_contours_hold_their_share() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 200_000))
    cells = density_2d(x, y, (-6, 6), (-6, 6))
    area = (cells.x[1] - cells.x[0]) * (cells.y[1] - cells.y[0])
    assert cells.density.sum() * area == pytest.approx(1, abs=1e-3)
    # A share m of a standard normal in the plane lies where its density is above (1 - m) / (2 pi).
    for mass, level in zip((0.9, 0.5), levels(cells.density, (0.9, 0.5)), strict=True):
        assert level == pytest.approx((1 - mass) / (2 * math.pi), rel=0.08)
    centres, density = density_1d(x, (-6, 6))
    assert density.sum() * (centres[1] - centres[0]) == pytest.approx(1, abs=1e-3)
    _, between_walls = density_1d(rng.uniform(-1, 1, 200_000), (-1, 1), reflecting=True)
    assert between_walls == pytest.approx(0.5, rel=0.12)


def test_an_oscillator_swaps_position_and_velocity() -> None:
    one = drawn("line-oscillation")
    (x, v), alpha = one.clouds, one.flow.alpha
    assert one.whole
    assert v[-1] == pytest.approx(-alpha * x[0], abs=1e-12)
    energy = one.paths[0] ** 2 + (one.paths[1] / alpha) ** 2
    assert energy == pytest.approx(np.broadcast_to(energy[0], energy.shape), abs=1e-12)


def test_without_a_force_velocities_are_kept_and_a_diffusion_is_drawn_as_far_as_it_can_be_seen() -> None:
    one = drawn("line-diffusion")
    x, v = one.clouds
    assert (v == v[0]).all()
    assert not one.whole
    ends = np.quantile(x[:, :2000], (0.05, 0.95), axis=1)
    widths = ends[1] - ends[0]
    assert 3.8 * widths[0] < widths[-1] <= 4.01 * widths[0]
    assert drawn("line-diffusion", num=200, reach=0).times[-1] == 80


def test_walls_keep_particles_in_and_speeds_as_they_were() -> None:
    one = drawn("line-reflection")
    x, v = one.clouds
    lo, hi = one.flow.walls
    assert lo <= x.min() <= x.max() <= hi
    assert np.abs(v) == pytest.approx(np.broadcast_to(np.abs(v[0]), v.shape))
    assert one.prior_p > 1e-3


def waves(amplitude: float, order: int, count: int) -> torch.Tensor:
    """Draws in [-1, 1]^2 of the density 1 + a cos(order pi (x + 1) / 2), over the uniform one; by rejection."""
    rng = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(3 * count, 2, generator=rng, dtype=torch.float64) - 1
    density = 1 + amplitude * torch.cos(order * math.pi * (x[:, 0] + 1) / 2)
    return x[torch.rand(len(x), generator=rng, dtype=torch.float64) < density / (1 + amplitude)][:count]


def test_the_distance_from_uniform_of_known_laws() -> None:
    x = waves(0.0, 1, 100_000)
    assert abs(distance_from_uniform(x, (-1, 1)).deviation) < 4
    half = torch.stack([x[:, 0].abs(), x[:, 1]], 1)  # twice as dense as uniform on one half: |p - u| = |u|
    assert distance_from_uniform(half, (-1, 1)).measured == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("order", [1, 3])
def test_a_mode_decays_in_flight_as_predicted(order: int) -> None:
    flow, amplitude = Reflection(), 0.8
    x0 = waves(amplitude, order, 200_000)
    z = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = decay(x0, flow.walls)
    assert int(found.orders[found.slowest]) == order**2
    for t in (0.0, 0.2, 0.4):
        left = amplitude / math.sqrt(2) * math.exp(-((order * math.pi * t / 2) ** 2) / 2)
        assert found.left_of_slowest(t) == pytest.approx(left, abs=0.006)
        assert found.left(t) == pytest.approx(left, abs=0.006)
        flown = distance_from_uniform(flow.state(x0, z, torch.tensor(t)).x, flow.walls)
        assert math.sqrt(flown.measured**2 - flown.floor**2) == pytest.approx(left, abs=0.01)


def test_phase_space_is_drawn_side_by_side(inside: Run, tmp_path: Path) -> None:
    told = json.loads(inside("visualize", "phase-space", *LINES, "--num", "1000", "--json").stdout)
    assert told["files"] == ["phase-space.png"]
    assert [one["flow"] for one in told["flows"]] == ["diffusion", "flow-matching", "oscillation", "reflection"]
    four = Image.open(tmp_path / "phase-space.png").size
    inside("visualize", "phase-space", "ring-oscillation", "--set", "data=gmm1", "--num", "1000", "--out", "one.png")
    one = Image.open(tmp_path / "one.png").size
    assert one[1] == four[1]
    assert four[0] == pytest.approx(4 * one[0], rel=0.05)


def test_reflection_is_drawn_and_measured(inside: Run, tmp_path: Path) -> None:
    done = inside("visualize", "reflection", "--num", "20000", "--json")
    told = json.loads(done.stdout)
    assert told["files"] == ["reflection.png"]
    assert told["slowest_order"] == 2  # the board's modes are odd in both coordinates
    assert told["floor"] == pytest.approx(math.sqrt(255 / 20_000))
    assert abs(told["deviation"]) < 4
    assert told["distances"][0] == pytest.approx(1, abs=0.02)
    assert (tmp_path / "reflection.png").stat().st_size > 30_000


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("phase-space", "line-oscilation"), 2, "did you mean 'line-oscillation'"),
        (("phase-space", "gmm-hsm"), 2, "is of a score, which has no flow"),
        (("phase-space", "line-diffusion", "digits-oscillation"), 2, "shape (1, 8, 8)"),
        (("phase-space", "line-oscillation", "--set", "flow.alpha=-1"), 2, "alpha (an angular frequency) must be"),
        (("phase-space", "line-oscillation", "--out", "."), 2, "is a folder"),
        (("phase-space", "line-oscillation", "--out", "a.doc"), 2, "ends in .png"),
        (("reflection", "line-reflection"), 2, "in the plane"),
        (("reflection", "ring-oscillation"), 2, "has no walls"),
        (("reflection", "--num", "1000", "--out", "/proc/none/a.png"), 1, "cannot write"),
        (("paper", "--out", "file"), 2, "file is a file; name a folder"),
        (("paper", "--out", "/proc/none"), 1, "cannot write to the folder /proc/none"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    inside: Run, tmp_path: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "file").write_text("")
    done = inside("visualize", *arguments, status=status)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class Page(HTMLParser):
    """What an HTML file consists of; elements must be closed in the order in which they were opened."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def check_page(text: str, pictures: int) -> Page:
    """Whole, self-contained, and every picture is one."""
    found = Page(text)
    ids = found.attributes("id")
    assert len(ids) == len(set(ids))
    for target in found.attributes("src") + found.attributes("href"):
        assert target.startswith(("data:", "#"))
        assert target[0] != "#" or target[1:] in ids
    assert "url(" not in text
    assert "@import" not in text
    assert not any(tag == "script" for tag, _ in found.elements)
    images = [attributes for tag, attributes in found.elements if tag == "img"]
    assert len(images) == pictures
    for one in images:
        with Image.open(io.BytesIO(base64.b64decode(one["src"].partition(",")[2], validate=True))) as image:
            image.load()
            assert image.size == (int(one["width"]), int(one["height"]))
        assert len(one["alt"]) > 20
    return found


def test_the_paper_is_made_once_and_gone_on_with(inside: Run, tmp_path: Path) -> None:
    command = ("visualize", "paper", "--out", "page", "--quick")
    first = inside(*command)
    assert first.stdout == "page/index.html\n"
    index = tmp_path / "page" / "index.html"
    text = index.read_text(encoding="utf-8")
    found = check_page(text, pictures=6)
    headings = [tag for tag, _ in found.elements if tag in ("h1", "h2")]
    assert headings == ["h1"] + 6 * ["h2"]
    assert "Made with --quick" in "".join(found.text)

    told = json.loads(inside(*command, "--json").stdout)
    assert told["files"][0] == "page/index.html"
    assert all((tmp_path / file).is_file() for file in told["files"])
    assert index.read_text(encoding="utf-8") == text
    assert 0 <= told["digits"]["label"] <= 1
    assert told["hsd"]["pearson"]["0.25"] > 0.98
    assert f"{told['reflection']['distance']:.4f}" in text

    (tmp_path / "page" / "reflection.png").unlink()  # as if stopped while it was drawn
    run = tmp_path / "page" / "runs" / "checkerboard-reflection-001"
    last = sorted((run / "checkpoints").iterdir())[-1]
    last.rename(last.with_name(".step-half-written"))  # as if killed while it was saved
    shutil.move(tmp_path / "page" / "runs" / "digits-oscillation-001", tmp_path / "runs" / "digits-oscillation-007")
    said = inside(*command).stderr
    assert said.count("measuring and drawing") == 1
    assert "reflection: measuring and drawing" in said
    assert "checkerboard: training checkerboard-reflection, 1,000 items, goes on" in said
    assert "digits: shows runs/digits-oscillation-007, which is finished" in said
    check_page(index.read_text(encoding="utf-8"), pictures=6)


def figure(caption: str) -> Figure:
    panel = Panel("one.png", 'a "picture" of nothing at all')
    said = FigureText("A & B", [caption], [("x < y", '"1"')], [panel], {"n": 1})
    return Figure(said, [from_image(Image.new("L", (8, 8)))])


def test_text_is_escaped(tmp_path: Path) -> None:
    keep(tmp_path, "one", figure("<script>alert(1)</script>"), {})
    found = kept(tmp_path, "one", {})
    assert found is not None
    read = check_page(page(tmp_path, {"one": found}, ["the & end"]), pictures=1)
    said = "".join(read.text)
    for text in ("A & B", "<script>alert(1)</script>", "x < y", '"1"', "the & end"):
        assert text in said
    assert 'a "picture" of nothing at all' in read.attributes("alt")


def test_a_figure_is_kept_for_the_same_work_alone(tmp_path: Path) -> None:
    one = figure("said")
    keep(tmp_path, "one", one, {"draws": (1, 2)})
    assert kept(tmp_path, "one", {"draws": (1, 2)}) == one.text
    assert kept(tmp_path, "one", {"draws": (1, 3)}) is None
    assert kept(tmp_path, "two", {"draws": (1, 2)}) is None
    whole = (tmp_path / "one.json").read_text()
    for damaged in (whole[:-20], "[]", '{"origin": {"draws": [1, 2]}, "panels": [{}]}', ""):
        (tmp_path / "one.json").write_text(damaged)
        assert kept(tmp_path, "one", {"draws": (1, 2)}) is None
    (tmp_path / "one.json").write_text(whole.replace('"panels"', '"plates"'))  # as older pages have it
    assert kept(tmp_path, "one", {"draws": (1, 2)}) == one.text
    (tmp_path / "one.json").write_text(whole)
    (tmp_path / "one.png").unlink()
    assert kept(tmp_path, "one", {"draws": (1, 2)}) is None
