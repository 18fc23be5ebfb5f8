"""Pictures of what a generator makes while it learns.

The same latent tensors each time, so that one sees the pictures change and not the dice:

    samples/epoch_0001.png, epoch_0002.png, …           a grid of pictures
    samples/epoch_0001_average.png, …                   of each average that the optimizer keeps

Needs Pillow (`pip install kooler[plots]`).
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kooler.callbacks.averaged_weights import averaged_weights
from kooler.callbacks.random_state import random_state, set_random_state
from kooler.core import attach
from kooler.core.atomic import replacing

SEED = 0
BATCH = 64


class SampleImages(keras.callbacks.Callback):
    """Writes a grid of generated pictures at the end of epochs.

    Pixels go from −1 (black) to 1 if the generator ever made a negative one, as with tanh, and from
    0 to 1 otherwise; what is outside is cut off.

    Args:
        generator: A Keras model from latent tensors to pictures [batch, height, width, 1 or 3], or
            with the channels first where Keras is set so.
        directory: Where the pictures go; made if need be.
        every: After how many epochs each.
        grid: Rows and columns.

    Raises:
        TypeError, ValueError: The generator does not make pictures, or a number is none.
        ImportError: When training begins: Pillow is not installed.

    Example:
        >>> gan.fit(images, callbacks=[SampleImages(generator, "samples", every=5)])
    """

    async_safe = True  # nothing happens after a batch, so Keras need not wait for us

    def __init__(
        self, generator: Any, directory: Any, *, every: int = 1, grid: tuple[int, int] = (8, 8)
    ) -> None:
        super().__init__()
        self.generator = generator
        self.directory = Path(directory)
        self.every = _count("every", every)
        self.grid = _grid(grid)
        shape = _latent_shape(generator)
        latent = np.random.default_rng(SEED).normal(size=(self.grid[0] * self.grid[1], *shape))
        self._latent = latent.astype("float32")
        self._signed = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Makes the directory and looks for Pillow, before the training and not after."""
        _pillow()
        self.directory.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the pictures."""
        if (epoch + 1) % self.every:
            return
        self._write(f"epoch_{epoch + 1:04}.png")
        for name in self._averages():
            with averaged_weights(self.model, name):
                self._write(f"epoch_{epoch + 1:04}_{name}.png")

    def _averages(self) -> list[str]:
        wrappers = attach.wrappers_in(getattr(self.model, "optimizer", None))
        return [name for wrapper in wrappers for name in wrapper.alternatives()]

    def _write(self, name: str) -> None:
        random = random_state()
        images = self.generator.predict(self._latent, batch_size=BATCH, verbose=0)
        set_random_state(random)
        if keras.config.image_data_format() == "channels_first":
            images = np.moveaxis(images, 1, -1)
        self._signed |= bool(images.min() < 0)
        low = -1.0 if self._signed else 0.0
        pixels = np.clip((images - low) / (1.0 - low), 0.0, 1.0) * 255
        write_png(self.directory / name, tiled(np.rint(pixels).astype("uint8"), self.grid))


def tiled(images: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """One picture of many, row by row.

    Args:
        images: [rows × columns, height, width, channels]. grid: Rows and columns.

    Returns:
        [rows × height, columns × width, channels]
    """
    rows, columns = grid
    _, height, width, channels = images.shape
    split = images.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return split.reshape(rows * height, columns * width, channels)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes a PNG file, whole or not at all.

    Args:
        path: Of the file. pixels: uint8 [height, width, 1 or 3].
    """
    image = _pillow().fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with replacing(path) as part:
        image.save(part, format="PNG")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "SampleImages writes its pictures with Pillow, which is not installed: "
            "pip install kooler[plots]"
        ) from error
    return Image


def _latent_shape(generator: Any) -> tuple[int, ...]:
    if not isinstance(generator, keras.Model):
        raise TypeError(
            f"`generator` must be a Keras model, received {generator!r} of type "
            f"{type(generator).__name__}."
        )
    taken, made = (getattr(generator, name, None) for name in ("input_shape", "output_shape"))
    channels = 1 if keras.config.image_data_format() == "channels_first" else -1
    if not isinstance(made, tuple) or len(made) != 4 or made[channels] not in (1, 3):
        raise ValueError(
            f"The generator {generator.name!r} makes {made}, and pictures are [batch, height, "
            "width, channels] with 1 or 3 channels. Put a Reshape at its end, or write a callback "
            "for what it makes."
        )
    if not isinstance(taken, tuple) or None in taken[1:]:
        raise ValueError(
            f"The input of the generator {generator.name!r} has the shape {taken}; to draw latent "
            "tensors, all of it but the batch must be known."
        )
    return taken[1:]


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"`{name}` of SampleImages must be a whole number of at least 1, received "
            f"{name}={value!r}."
        )
    return value


def _grid(grid: Any) -> tuple[int, int]:
    if not isinstance(grid, tuple | list) or len(grid) != 2:
        raise ValueError(
            f"`grid` must be a pair of whole numbers, rows and columns, received grid={grid!r}."
        )
    return _count("grid", grid[0]), _count("grid", grid[1])
