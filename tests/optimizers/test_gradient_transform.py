"""Functions of the gradients in front of an optimizer."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import GradientTransform, inject, transforms
from tests.conftest import BACKEND
from tests.optimizers.cases import CLIP
from tests.optimizers.conformance import array, follow_oracle, fresh_variables
from tests.optimizers.oracles import AdamOracle
from tests.optimizers.two_layers import compiled, fit
from tests.toys import TableDescent, Window, serializable


@serializable
def doubled(gradients: Any, variables: Any) -> Any:
    return [2 * gradient for gradient in gradients]


def test_the_equation() -> None:
    follow_oracle(CLIP, keras.optimizers.Adam(0.1), AdamOracle(0.1), 2e-5, flush_after=25)


def test_one_after_the_other() -> None:
    weight = keras.Variable([0.0], name="weight")
    optimizer = GradientTransform(keras.optimizers.SGD(1.0), transforms.clip_by_value(1.0), doubled)
    optimizer.apply([ops.array([5.0])], [weight])

    assert array(weight).tolist() == [-2.0]


def test_outside_of_a_window_every_micro_gradient_inside_their_average() -> None:
    moves = []
    for outside in (True, False):
        weight = keras.Variable([0.0], name="weight")
        clip, descent = transforms.clip_by_value(1.0), keras.optimizers.SGD(1.0)
        optimizer: Any = (
            GradientTransform(Window(descent, 2), clip)
            if outside
            else Window(GradientTransform(descent, clip), 2)
        )
        for gradient in (3.0, -2.0):
            optimizer.apply([ops.array([gradient])], [weight])
        moves.append(float(array(weight)[0]))

    assert moves == [0.0, -0.5]


@pytest.mark.slow
def test_all_is_saved_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model = compiled("sgd")
    only = transforms.only(model.get_layer("last"), transforms.clip_by_l1_norm(0.5))
    chain = [
        transforms.skip_nonfinite(),
        only,
        transforms.only("first", doubled),
        transforms.centralize(),
        transforms.add_noise(0.1, seed=3),
    ]
    inject(model, GradientTransform, transforms=chain)
    fit(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    for a, b in zip(fit(loaded).get_weights(), fit(model).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_transform_has_a_config() -> None:
    chain = [
        transforms.clip_by_value(1.0),
        transforms.clip_by_norm(2.0),
        transforms.clip_by_l1_norm(3.0),
        transforms.clip_by_global_norm(4.0),
        transforms.adaptive_clip(0.5),
        transforms.centralize(),
        transforms.add_noise(0.1, 0.2, seed=3),
        transforms.zero_nans(),
        transforms.skip_nonfinite(7),
        transforms.only(["a", "b"], transforms.only("a", transforms.zero_nans())),
        doubled,
    ]
    config = GradientTransform("sgd", *chain).get_config()

    assert GradientTransform.from_config(config).get_config() == config


def test_a_lambda_works_but_cannot_be_saved() -> None:
    optimizer = GradientTransform("sgd", lambda gradients, variables: gradients)
    optimizer.apply([ops.ones(1)], [keras.Variable([1.0])])

    with pytest.raises(ValueError, match=r"A lambda among the transforms cannot be saved. Write a"):
        optimizer.get_config()


@pytest.mark.parametrize(
    "wrong",
    ["clip", 1.0, None, keras.optimizers.SGD, keras.optimizers.SGD(0.1)],
    ids=["name", "number", "none", "class", "optimizer"],
)
def test_a_transform_is_a_function(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"A transform is a function of \(gradients, variables\)"):
        GradientTransform("sgd", wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda gradients, variables: gradients[:1],
            r"shapes \[\(\), \(3,\), .*but returned \[\(\)\]",
        ),
        (lambda gradients, variables: None, r"a list of gradients .* but returned None"),
        (lambda gradients, variables: [None] * 4, r"returned \[None, None, None, None\]"),
        (lambda gradients, variables: [g[None] for g in gradients], r"of the same shapes, but ret"),
    ],
    ids=["too few", "none", "nones", "shapes"],
)
def test_a_transform_must_return_as_many_of_the_same_shapes(wrong: Any, message: str) -> None:
    variables = fresh_variables()
    optimizer = GradientTransform("sgd", wrong)
    before = [array(variable) for variable in variables]

    with pytest.raises(ValueError, match=message):
        optimizer.apply([ops.ones(v.shape) for v in variables], variables)
    for variable, wanted in zip(variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), wanted)


def test_what_counts_its_steps_occurs_once() -> None:
    noise = transforms.add_noise(0.1)

    with pytest.raises(ValueError, match=r"occurs twice, and it counts its steps. Call its func"):
        GradientTransform("sgd", noise, noise)
    with pytest.raises(ValueError, match=r"more than one skip_nonfinite among the transforms"):
        GradientTransform("sgd", transforms.skip_nonfinite(), transforms.skip_nonfinite())


def test_a_checkpoint_of_other_transforms_is_an_error() -> None:
    optimizer = GradientTransform("sgd", transforms.skip_nonfinite())
    optimizer.build(fresh_variables())

    with pytest.raises(
        ValueError, match=r"1 variables for the optimizer .* which has 4: it was wr"
    ):
        optimizer.load_own_variables({"0": np.zeros(())})


def test_tables_taken_by_rows_inside_are_an_error() -> None:
    table = keras.layers.Embedding(4, 2, name="table")
    model = keras.Sequential([keras.Input((1,)), table, keras.layers.Dense(1)])
    rows = TableDescent(keras.optimizers.SGD(0.1), rate=0.1)

    with pytest.raises(ValueError, match=r"by rows, which GradientTransform around it would never"):
        model.compile(GradientTransform(rows, transforms.clip_by_norm(1.0)), loss="mse")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has IndexedSlices")
def test_sparse_gradients_of_tensorflow_are_summed_before_they_are_clipped() -> None:
    import tensorflow as tf

    table = keras.Variable(np.zeros((3, 1), "float32"), name="table")
    twice = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([1, 1]), tf.constant([3, 1]))
    optimizer = GradientTransform(keras.optimizers.SGD(1.0), transforms.clip_by_norm(2.0))
    optimizer.apply([twice], [table])

    assert array(table).ravel().tolist() == [0.0, -2.0, 0.0]
