from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from corecur.report.line_charts import MOST_CHANNELS, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def corners(drawing: str, line: int = 0) -> np.ndarray:
    """The corners of one line, (N, 2)."""
    lines = re.findall(r'points="([^"]*)"', drawing)
    return np.array([[float(number) for number in pair.split(",")] for pair in lines[line].split()])


def test_the_line_follows_the_values() -> None:
    found = corners(line_chart(np.array([[0.0], [1.0], [0.5]]), size=(100.0, 50.0)))
    assert found[:, 0].tolist() == [0.0, 50.0, 100.0]
    assert found[:, 1].tolist() == [47.0, 3.0, 25.0]


def test_lengths_share_a_scale_of_time() -> None:
    assert corners(line_chart(np.zeros((50, 1)), longest=100, size=(100.0, 50.0)))[-1, 0] == 50.0


def test_limits_are_a_scale_of_values_and_hold() -> None:
    found = corners(line_chart(np.array([[0.5], [9.0]]), limits=np.array([[0.0, 1.0]]), size=(100.0, 50.0)))
    assert found[:, 1].tolist() == [25.0, 3.0]


def test_a_long_series_keeps_its_peaks() -> None:
    values = np.zeros((10_000, 1))
    values[4321] = 1.0
    found = corners(line_chart(values, size=(100.0, 50.0)))
    assert len(found) <= 200 and found[:, 1].min() == 3.0


@pytest.mark.parametrize("steps", [1, 2, 3, 5000])
@pytest.mark.parametrize("channels", [1, 2, 40])
def test_every_shape_is_well_formed(steps: int, channels: int) -> None:
    series = np.random.default_rng(0).normal(size=(steps, channels))
    names = [f"<channel & {n}>" for n in range(channels)]
    drawing = line_chart(series, speaks=series[:, 0], channels=names, longest=9000)
    root = ElementTree.fromstring(drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert len(root.findall(f"{SVG}polyline")) == min(channels, MOST_CHANNELS)
    assert "nan" not in drawing


def test_colours_say_for_and_against() -> None:
    drawing = line_chart(np.zeros((4, 1)), speaks=np.array([2.0, -1.0, 0.0, 0.5]))
    assert re.findall(r"var\((--first|--second)\); fill-opacity: ([\d.]+)", drawing) == [
        ("--first", "0.55"), ("--second", "0.28"), ("--first", "0.14"),
    ]  # fmt: skip


def test_a_constant_series_is_a_level_line() -> None:
    assert set(corners(line_chart(np.full((5, 1), 7.0), size=(100.0, 50.0)))[:, 1]) == {25.0}
