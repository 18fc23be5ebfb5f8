"""Noise that dies away: it helps deep networks out of bad starting points.

To the gradients of call t = 0, 1, … normal noise is added whose variance is

    σₜ² = η / (1 + t)^γ

(Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807, with η in 0.01, 0.3, 1 and γ = 0.55).
The step and the state of the random numbers are saved with the optimizer: a training that is
resumed draws the same noise.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.optimizers.transforms.transform import Transform, positive


def add_noise(eta: float, gamma: float = 0.55, *, seed: int | None = None) -> Transform:
    """Adds normal noise of the variance eta / (1 + t)^gamma.

    Args:
        eta: The variance of the first step.
        gamma: How fast it dies away.
        seed: For the same noise each time; by default from Keras's global seed.
    """
    return _AddNoise(positive("eta", eta), positive("gamma", gamma), seed)


class _AddNoise(Transform):
    def __init__(self, eta: float, gamma: float, seed: int | None) -> None:
        arguments = {"eta": eta, "gamma": gamma, "seed": seed}
        super().__init__("add_noise", arguments, self._add)
        self._random = keras.random.SeedGenerator(seed)
        self._step = keras.Variable(0, dtype="int32", trainable=False, name="noise_step")

    @property
    def state(self) -> list[Any]:
        return [self._step, self._random.state]

    def _add(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        time = 1.0 + ops.cast(self._step, "float32")
        deviation = ops.sqrt(self.arguments["eta"] / time ** self.arguments["gamma"])
        self._step.assign(self._step + 1)
        return [gradient + self._noise(gradient, deviation) for gradient in gradients]

    def _noise(self, gradient: Tensor, deviation: Tensor) -> Tensor:
        noise = keras.random.normal(gradient.shape, dtype="float32", seed=self._random)
        return ops.cast(deviation * noise, gradient.dtype)
