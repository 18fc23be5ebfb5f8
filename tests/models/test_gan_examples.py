"""The examples with generators and reversed gradients run, and do what they promise."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_gan_finds_all_heaps(tmp_path: Path) -> None:
    mixture = example("gan_mixture")

    found, made = mixture.run(heaps=3, steps=250, width=32)
    mixture.draw(made, 3, tmp_path / "mixture.png")

    assert found == 3
    assert (tmp_path / "mixture.png").stat().st_size > 1000


def test_a_heap_is_found_if_enough_points_are_near() -> None:
    mixture = example("gan_mixture")
    made = np.concatenate([np.tile([1.0, 0.05], (98, 1)), np.tile([0.0, 1.0], (2, 1))])

    assert mixture.found(made, 4) == 1


@pytest.mark.compiles
def test_digits_are_written(tmp_path: Path) -> None:
    mnist = example("gan_mnist")
    arrays = {"x_train": np.zeros((8, 28, 28), "uint8")}
    np.savez(tmp_path / "mnist.npz", **arrays)

    images = mnist.digits(tmp_path / "mnist.npz")
    mnist.run(images, tmp_path / "samples", epochs=1, width=4, grid=(1, 2))

    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["epoch_0001.png", "epoch_0001_average.png"]
    assert images.min() == -1.0


@pytest.mark.compiles
def test_reversed_gradients_help_with_the_second_camera() -> None:
    adaptation = example("domain_adaptation")

    plain, reversed_gradients = (adaptation.run(strength, count=400) for strength in (0.0, 0.3))

    assert reversed_gradients > plain + 0.05


def test_colour_tells_the_class_with_the_first_camera_only() -> None:
    adaptation = example("domain_adaptation")
    colour = {}
    for first in (True, False):
        measured, classes = adaptation.camera(4000, first, seed=0)
        means = [measured[classes[:, 0] == one, -1].mean() for one in (0, 1)]
        colour[first] = means[1] - means[0]

    assert abs(colour[True] - 2.0) < 0.1
    assert abs(colour[False]) < 0.1
