"""Numbers about gradients and updates, against NumPy."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import Accumulate, GradientTransform, Telemetry, transforms
from tests.optimizers.conformance import applier, array, fresh_variables, gradients
from tests.toys import Window

SGD = keras.optimizers.SGD
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")


def norm(arrays: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(one, dtype="float64")) for one in arrays)))


def report(optimizer: Any) -> dict[str, float]:
    return {name: float(ops.convert_to_numpy(v)) for name, v in optimizer.report().items()}


def test_norms_follow_numpy_for_all_and_by_group() -> None:
    quantities = ["gradient_norm", "weight_norm", "update_norm", "update_ratio"]
    optimizer = Telemetry(keras.optimizers.Adam(0.1), quantities, groups={"one": ["v1", "v3"]})
    variables = fresh_variables()
    optimizer.build(variables)
    apply = applier(optimizer, variables)
    for stream in gradients(steps=5):
        before = [array(v) for v in variables]
        apply(stream, 1.0)
        after = [array(v) for v in variables]
        found = report(optimizer)
        for suffix, members in (("", range(4)), ("/one", (1, 3))):
            step = norm(after[i] - before[i] for i in members)
            expected = {
                "gradient_norm": norm(stream[i] for i in members),
                "weight_norm": norm(after[i] for i in members),
                "update_norm": step,
                "update_ratio": step / norm(before[i] for i in members),
            }
            for name, value in expected.items():
                assert found[name + suffix] == pytest.approx(value, rel=1e-5), name + suffix


def test_by_hand() -> None:
    optimizer = Telemetry(SGD(0.5), ["gradient_norm", "update_norm"])
    optimizer.apply([ops.convert_to_tensor([3.0, 4.0])], [keras.Variable([0.0, 0.0])])

    assert report(optimizer) == {"gradient_norm": 5.0, "update_norm": 2.5}


def test_it_changes_nothing() -> None:
    quantities = ["gradient_norm", "weight_norm", "update_norm", "clip_rate", "nonfinite_count"]
    trained = []
    for wrap in (lambda o: Telemetry(o, quantities), lambda o: o):
        variables = fresh_variables()
        optimizer = wrap(keras.optimizers.Adam(0.1, clipnorm=1.0))
        optimizer.build(variables)
        apply = applier(optimizer, variables)
        for stream in gradients(steps=5):
            apply(stream, 1.0)
        trained.append([array(v) for v in variables])

    for ours, plain in zip(*trained, strict=True):
        np.testing.assert_array_equal(ours, plain)


@pytest.mark.parametrize("order", ["outside", "inside"])
def test_numbers_of_updates_under_accumulation(order: str) -> None:
    """Outside it sees each gradient, inside their mean; an update is the same from both."""
    quantities = ["gradient_norm", "update_norm"]
    if order == "outside":
        optimizer: Any = Telemetry(Window(SGD(1.0), 2), quantities)
        telemetry = optimizer
    else:
        telemetry = Telemetry(SGD(1.0), quantities)
        optimizer = Window(telemetry, 2)
    variables = [keras.Variable([0.0])]
    optimizer.build(variables)
    apply = applier(optimizer, variables)
    seen = []
    for gradient in (1.0, 3.0, 5.0):
        apply([np.array([gradient], "float32")], 1.0)
        seen.append(report(telemetry))

    assert [one["update_norm"] for one in seen] == [0.0, 2.0, 2.0]
    expected = [1.0, 3.0, 5.0] if order == "outside" else [0.0, 2.0, 2.0]
    assert [one["gradient_norm"] for one in seen] == expected


@pytest.mark.parametrize("clip", ["transform", "clipnorm", "clipvalue", "global_clipnorm"])
def test_the_clip_rate_counts_what_is_clipped_inside(clip: str) -> None:
    if clip == "transform":
        inner: Any = GradientTransform(SGD(0.1), transforms.clip_by_global_norm(2.0))
    else:
        inner = SGD(0.1, **{clip: 2.0})
    optimizer = Telemetry(inner, ["clip_rate"], groups={"a": "^a$", "b": "^b$"})
    variables = [keras.Variable([0.0], name=name) for name in "ab"]
    rates = []
    for gradient in (1.0, 3.0, 1.0, 5.0):
        pair = [ops.convert_to_tensor([gradient]), ops.convert_to_tensor([0.1])]
        optimizer.apply(pair, variables)
        rates.append(report(optimizer))

    both = clip in ("transform", "global_clipnorm")
    assert [one["clip_rate"] for one in rates] == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert rates[-1]["clip_rate/a"] == 0.5
    assert rates[-1]["clip_rate/b"] == (0.5 if both else 0.0)
    optimizer.settle("epoch")
    optimizer.apply([ops.ones(1) * 9, ops.ones(1)], variables)
    assert report(optimizer)["clip_rate"] == 1.0


def test_gradients_that_are_not_finite_are_counted() -> None:
    optimizer = Telemetry(SGD(0.0), ["nonfinite_count"], groups={"a": "^a$", "b": "^b$"})
    variables = [keras.Variable([0.0, 0.0], name=name) for name in "ab"]
    for bad in (np.nan, 1.0, np.inf):
        pair = [ops.convert_to_tensor([1.0, bad]), ops.ones(2)]
        optimizer.apply(pair, variables)

    assert report(optimizer) == {
        "nonfinite_count": 2,
        "nonfinite_count/a": 2,
        "nonfinite_count/b": 0,
    }


def test_the_noise_scale_is_that_of_the_gradients() -> None:
    """Gradients of mean G and covariance Σ per example, in batches of 2, 4 and 6: tr Σ / ‖G‖²."""
    random = np.random.default_rng(3)
    mean = np.array([1.0, -2.0, 2.0])
    optimizer = Telemetry(Accumulate(SGD(0.0), 3), ["noise_scale"])
    variables = [keras.Variable(np.zeros(3, "float32"))]
    optimizer.build(variables)
    apply = applier(optimizer, variables)
    oracle, window, estimates = np.zeros(2), [], []
    for step in range(600):
        size = (2, 4, 6)[step % 3]
        gradient = (mean + random.normal(size=(size, 3)) * [1.0, 2.0, 3.0]).mean(0)
        apply([gradient.astype("float32")], float(size))
        window.append((size, gradient))
        if len(window) == 3:
            estimates.append(estimate(window))
            oracle, window = 0.95 * oracle + 0.05 * np.array(estimates[-1]), []

    found = report(optimizer)["noise_scale"]
    assert found == pytest.approx(oracle[0] / oracle[1], rel=1e-3)
    np.testing.assert_allclose(np.mean(estimates, 0), [14, 9], rtol=0.1)  # unbiased


def estimate(window: list[tuple[int, np.ndarray]]) -> tuple[float, float]:
    """Solves E‖gᵢ‖² = S + T/bᵢ, E‖g‖² = S + T/B for T = tr Σ and S = ‖G‖²."""
    sizes = np.array([size for size, _ in window])
    big = sum(size * g for size, g in window) / sizes.sum()
    small = np.mean([g @ g for _, g in window])
    matrix = [[np.mean(1 / sizes), 1.0], [1 / sizes.sum(), 1.0]]
    trace, square = np.linalg.solve(matrix, [small, big @ big])
    return trace, square


def test_in_the_history_and_after_loading(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="last")])
    telemetry = Telemetry(
        Accumulate(keras.optimizers.Adam(0.1), 2),
        ["gradient_norm", "update_ratio", "noise_scale"],
        groups={"last": model.get_layer("last")},
    )
    model.compile(telemetry, loss="mse")
    seen: list[set[str]] = []  # what Keras's progress bar and TensorBoard are given
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(set(logs)),
        on_epoch_end=lambda epoch, logs: seen.append(set(logs)),
    )
    history = model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[watch]).history
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert {"gradient_norm", "gradient_norm/last", "noise_scale", "update_ratio/last"} <= {*history}
    assert all(names >= {"gradient_norm/last", "noise_scale"} for names in seen)
    assert all(np.isfinite(history["noise_scale"]))
    assert report(loaded.optimizer) == report(model.optimizer)


def test_two_of_them_are_told_apart_by_name() -> None:
    inside = Telemetry(SGD(0.1), ["gradient_norm"], name="mean")
    outside = Telemetry(Window(inside, 2), ["gradient_norm"])
    outside.build([keras.Variable([0.0])])

    assert [*outside.report(), *inside.report()] == ["gradient_norm", "mean/gradient_norm"]
    assert Telemetry.from_config(outside.get_config()).prefix == ""
    assert Telemetry.from_config(inside.get_config()).prefix == "mean/"


def test_wrong_quantities_and_places_are_told() -> None:
    variables = [keras.Variable([0.0], name="a")]
    with pytest.raises(ValueError, match=r"at least one of gradient_norm, .*quantities=\['norm'\]"):
        Telemetry("sgd", ["norm"])
    with pytest.raises(ValueError, match=r"received quantities=\[\]"):
        Telemetry("sgd", [])
    with pytest.raises(ValueError, match=r"directly around Accumulate, and stands around SGD"):
        Telemetry("sgd", ["noise_scale"]).build(variables)
    with pytest.raises(ValueError, match=r"there SGD clips nothing. Give the optimizer `clipnorm`"):
        Telemetry("sgd", ["clip_rate"]).build(variables)
    with pytest.raises(ValueError, match="'head' matches none of the 1 variables"):
        Telemetry("sgd", ["gradient_norm"], groups={"x": "head"}).build(variables)
