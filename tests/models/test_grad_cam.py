"""The example with Grad-CAM runs, and finds what it should."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "examples" / "grad_cam.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location("grad_cam", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.compiles
def test_the_network_looks_at_the_figure(example: ModuleType, tmp_path: Path) -> None:
    accuracy, found, pictures = example.run(count=512, epochs=4)
    example.draw(*pictures, tmp_path / "maps.png")

    assert accuracy > 0.9
    assert found > 0.8
    assert (tmp_path / "maps.png").stat().st_size > 1000


def test_hits_count_maps_whose_maximum_is_near(example: ModuleType) -> None:
    maps = np.zeros((2, example.SIZE, example.SIZE))
    maps[:, 5, 6] = 1.0

    assert example.hits(maps, np.array([[5, 6], [5 + example.HALF + 1, 6]])) == 0.5
