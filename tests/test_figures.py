"""Pictures, read back: pixels where they belong, windows that show what there is to see."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hgfctl.engine.figures.run import run_figure
from hgfctl.engine.figures.samples import GAP, GAP_GREY, images_grid, samples_figure
from hgfctl.engine.figures.trajectories import Course, animation, panels
from hgfctl.storage.sample_files import to_bytes


def drawn(picture, path: Path) -> np.ndarray:
    picture.save(path)
    return np.asarray(Image.open(path))


def test_bytes_round_to_the_nearest_level() -> None:
    levels = torch.arange(256.0)
    x = (levels / 127.5 - 1).reshape(1, 1, 16, 16)
    assert to_bytes(x).ravel().tolist() == levels.int().tolist()
    assert to_bytes(torch.tensor([[[[-9.0, 9.0]]]])).ravel().tolist() == [0, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_holds_every_image_pixel_for_pixel(tmp_path: Path, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, channels), np.uint8)
    grid = drawn(images_grid(images, columns=3), tmp_path / "grid.png").reshape(3 * 34 - GAP, 3 * 34 - GAP, channels)
    for i, image in enumerate(images):
        top, left = i // 3 * 34, i % 3 * 34
        assert (grid[top : top + 32 : 2, left : left + 32 : 2] == image).all()
        assert (grid[top + 1 : top + 32 : 2, left + 1 : left + 32 : 2] == image).all()
    assert (grid[:, 32:34] == GAP_GREY).all()
    assert (grid[68:, 34:] == GAP_GREY).all()  # the places of the eighth and the ninth


@pytest.mark.parametrize(
    ("labels", "columns"),
    [([0, 1, 2] * 4, 3), ([3, 5] * 6, 2), ([0, 0, 1, 2] * 3, 4), ([1] * 12, 4), (list(range(12)), 4), (None, 4)],
    ids=["cycle", "some", "no cycle", "one class", "no second row", "no classes"],
)
def test_classes_that_repeat_are_columns(tmp_path: Path, labels: list[int] | None, columns: int) -> None:
    figure = samples_figure(torch.zeros(12, 1, 32, 32), None if labels is None else torch.tensor(labels))
    assert drawn(figure, tmp_path / "grid.png").shape[1] == columns * 34 - GAP


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_vectors_are_plotted(tmp_path: Path, dim: int) -> None:
    pixels = drawn(samples_figure(torch.randn(50, dim), None), tmp_path / "points.png")[..., :3]
    assert (pixels != 255).any(-1).mean() > 0.005


def course(scales: list[float], walls: tuple[float, float] | None = None) -> Course:
    generator = torch.Generator().manual_seed(0)
    unit = 2 * torch.rand(200, 2, generator=generator, dtype=torch.float64) - 1
    times = torch.linspace(1, 0, len(scales), dtype=torch.float64)
    return Course(torch.stack([scale * unit for scale in scales]), times, lambda x, t: x, walls)


def test_a_window_holds_the_particles_and_no_more() -> None:
    steady, shrinking = course([1, 1.5, 1]), course([80, 8, 1])
    assert not steady.zooms
    assert {steady.window(i) for i in range(3)} == {steady.window(1)}
    assert shrinking.zooms
    for i, scale in enumerate((80, 8, 1)):
        low, high = shrinking.window(i)
        assert low == -high
        assert scale < high < 1.2 * scale


def test_the_window_of_a_box_is_the_box() -> None:
    boxed = course([0.9, 0.1], walls=(-1.0, 1.0))
    assert not boxed.zooms
    assert boxed.window(0) == boxed.window(1) == pytest.approx((-1.06, 1.06))


def test_panels_and_animation_show_the_whole_course(tmp_path: Path) -> None:
    eleven = course([2 - 0.1 * i for i in range(11)])
    height, width, _ = drawn(panels(eleven), tmp_path / "panels.png").shape
    assert width / height == pytest.approx(6 * 3 / 3.3, rel=0.01)
    animation(eleven).save(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 11
        assert film.info["loop"] == 0
        first = np.asarray(film.convert("L")).copy()
        film.seek(10)
        assert film.info["duration"] == 2000
        assert (np.asarray(film.convert("L")) != first).any()


def test_a_run_of_one_row_can_be_drawn(tmp_path: Path) -> None:
    row = {"images": 100, "loss": 0.5, "lr": 1e-3, "images_per_second": 10.0}
    pixels = drawn(run_figure([row, {**row, "images": 200, "loss": 0.4}], "a run"), tmp_path / "run.png")
    assert pixels.shape[0] == 750
    assert drawn(run_figure([row]), tmp_path / "one.png").shape[0] == 750
