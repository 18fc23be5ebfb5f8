"""Pictures at the end of epochs: what is in them, when they come, and of whom."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from kooler.callbacks import SampleImages
from kooler.callbacks.sample_images import tiled, write_png
from kooler.models import GAN
from kooler.optimizers import EMA, WeightAverage


def generator(activation: str = "tanh", channels: int = 1) -> keras.Model:
    shape = (2, 3, channels)
    if keras.config.image_data_format() == "channels_first":
        shape = (channels, 2, 3)
    size = 6 * channels
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(size, activation=activation), layers.Reshape(shape)]
    )


def gan(optimizer: object = "adam") -> GAN:
    made = generator()
    judge = keras.Sequential(
        [keras.Input(made.output_shape[1:]), layers.Flatten(), layers.Dense(1)]
    )
    model = GAN(made, judge)
    model.compile(optimizer)
    return model


def read_png(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path))
    return pixels if pixels.ndim == 3 else pixels[..., None]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_read_as_it_was_written(channels: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype("uint8")

    write_png(tmp_path / "one.png", pixels)

    np.testing.assert_array_equal(read_png(tmp_path / "one.png"), pixels)


def test_without_pillow_training_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(ImportError, match=r"Pillow, which is not installed: pip install kooler"):
        SampleImages(generator(), tmp_path).on_train_begin()


def test_a_grid_goes_row_by_row() -> None:
    images = np.arange(4).reshape(4, 1, 1, 1) * np.ones((4, 1, 2, 1))

    assert tiled(images, (2, 2))[..., 0].tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]


def test_pictures_come_every_so_many_epochs(tmp_path: Path) -> None:
    model = gan()
    images = model.generate(8)

    sampling = SampleImages(model.generator, tmp_path / "deep" / "er", every=2, grid=(2, 3))
    model.fit(images, epochs=5, verbose=0, callbacks=[sampling])

    found = sorted(path.name for path in (tmp_path / "deep" / "er").iterdir())
    assert found == ["epoch_0002.png", "epoch_0004.png"]
    assert read_png(tmp_path / "deep" / "er" / found[0]).shape == (4, 9, 1)


def test_they_show_the_generator_of_that_epoch(tmp_path: Path) -> None:
    model = gan()
    sampling = SampleImages(model.generator, tmp_path, grid=(1, 2))
    model.fit(model.generate(8), verbose=0, callbacks=[sampling])

    made = model.generator.predict(sampling._latent, verbose=0)
    if keras.config.image_data_format() == "channels_first":
        made = np.moveaxis(made, 1, -1)
    wanted = np.concatenate([made[0], made[1]], axis=1) * 127.5 + 127.5
    difference = read_png(tmp_path / "epoch_0001.png").astype(float) - wanted
    assert np.abs(difference).max() < 0.51


def test_averages_have_pictures_of_their_own(tmp_path: Path) -> None:
    model = gan(WeightAverage(keras.optimizers.SGD(1.0), EMA(0.9)))

    sampling = SampleImages(model.generator, tmp_path, grid=(1, 2))
    model.fit(model.generate(8), batch_size=2, verbose=0, callbacks=[sampling])

    now, averaged = (read_png(tmp_path / f"epoch_0001{end}.png") for end in ("", "_average"))
    assert (now != averaged).any()


def test_pixels_from_zero_on_are_taken_as_they_are(tmp_path: Path) -> None:
    net = generator("sigmoid", channels=3)
    sampling = SampleImages(net, tmp_path, grid=(1, 1))
    net.compile("sgd", loss="mse")

    net.fit(
        sampling._latent, net.predict(sampling._latent, verbose=0), verbose=0, callbacks=[sampling]
    )

    made = net.predict(sampling._latent, verbose=0)[0]
    if keras.config.image_data_format() == "channels_first":
        made = np.moveaxis(made, 0, -1)
    assert np.abs(read_png(tmp_path / "epoch_0001.png") - made * 255).max() < 0.51


def test_who_once_made_a_negative_pixel_has_grey_at_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = generator()
    sampling = SampleImages(net, tmp_path, grid=(1, 1))
    made = [np.full((1, *net.output_shape[1:]), value, "float32") for value in (-1.0, 0.0)]
    monkeypatch.setattr(net, "predict", lambda *_, **__: made.pop(0))

    sampling._write("first.png")
    sampling._write("second.png")

    assert (read_png(tmp_path / "first.png") == 0).all()
    assert (read_png(tmp_path / "second.png") == 128).all()


def test_what_makes_no_pictures_is_refused(tmp_path: Path) -> None:
    flat = keras.Sequential([keras.Input((4,)), layers.Dense(6)], name="flat")
    with pytest.raises(ValueError, match=r"'flat' makes \(None, 6\), and pictures are \[batch"):
        SampleImages(flat, tmp_path)
    with pytest.raises(TypeError, match="`generator` must be a Keras model, received 3"):
        SampleImages(3, tmp_path)


@pytest.mark.parametrize("arguments", [{"every": 0}, {"grid": (0, 2)}, {"grid": 8}])
def test_wrong_numbers_are_refused(arguments: dict, tmp_path: Path) -> None:
    (name,) = arguments

    with pytest.raises(ValueError, match=f"`{name}` .*must be a .*whole number"):
        SampleImages(generator(), tmp_path, **arguments)
