"""Settings decide the model and its optimizer, and nothing else does."""

import random

import keras
import numpy as np

from kooler.seq2seq.recipe import build_model, build_optimizer
from kooler.seq2seq.settings import Settings

SMALL = {"layers": 1, "width": 8, "heads": 2, "feedforward": 12}


def test_the_model_is_that_of_the_settings():
    settings = Settings(
        **SMALL, orders=("mid",), norm="pre", dropout=0.3, label_smoothing=0.2, copy_prior=True,
        order_sampling="one", target_length=9,
    )  # fmt: skip

    config = build_model(settings, 50).get_config()

    wanted = {**SMALL, "source_vocabulary_size": 50, "orders": ("mid",), "norm": "pre"}
    wanted |= {"dropout": 0.3, "label_smoothing": 0.2, "copy_prior": True, "max_length": 9}
    assert (wanted | {"order_sampling": "one"}).items() <= config.items()


def test_lstms_are_those_of_the_settings():
    small = {"architecture": "recurrent", "layers": 1, "width": 8, "heads": 2, "leaky": True}
    model = build_model(Settings(**small, input_replacement=0.3), 50)

    wanted = {**small, "orders": ("l2r", "r2l"), "input_replacement": 0.3}
    assert wanted.items() <= model.get_config().items()
    assert model.writes_together


def test_equal_seeds_give_equal_weights_and_seeds_of_dropout():
    random.seed(1)
    first = build_model(Settings(**SMALL, seed=5), 50)
    random.seed(2)
    second, other = build_model(Settings(**SMALL, seed=5), 50), build_model(Settings(**SMALL), 50)

    assert len(first.variables) > len(first.weights)
    for one, two in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one.value), keras.ops.convert_to_numpy(two.value)
        )
    assert not np.array_equal(
        keras.ops.convert_to_numpy(first.weights[0].value),
        keras.ops.convert_to_numpy(other.weights[0].value),
    )


def test_building_leaves_the_random_numbers_of_others_alone():
    random.seed(1)
    expected = random.Random(1).random()

    build_model(Settings(**SMALL), 50)

    assert random.random() == expected


def test_precision_is_that_of_the_settings_and_of_this_model_only():
    model = build_model(Settings(**SMALL, precision="mixed_bfloat16"), 50)

    assert model.compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_the_optimizer_is_that_of_the_settings():
    settings = Settings(
        learning_rate=0.5, warmup=2, beta1=0.8, beta2=0.7, weight_decay=0.1, clipnorm=3.0
    )

    optimizer = build_optimizer(settings)

    assert float(optimizer.learning_rate) == 0.25  # of the first of two updates of the warm-up
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.weight_decay) == (0.8, 0.7, 0.1)
    assert optimizer.global_clipnorm == 3.0
    assert build_optimizer(Settings(clipnorm=0)).global_clipnorm is None
