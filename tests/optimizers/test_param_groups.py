"""Groups of variables: each its optimizer, together the single one, and what is refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import (
    GradientTransform,
    Group,
    LearningRateMultiplier,
    ParamGroups,
    inject,
    transforms,
)
from tests.optimizers.conformance import Case, array, follow_oracle, fresh_variables, gradients
from tests.optimizers.oracles import AdamOracle, GroupsOracle, MultiplierOracle, SGDOracle
from tests.optimizers.two_layers import compiled, fit
from tests.toys import Nothing, TableDescent, Trail, Window

OPTIMIZERS = keras.optimizers


def run(optimizer: Any, steps: int = 3) -> list[np.ndarray]:
    """The weights after a stream of gradients."""
    variables = fresh_variables()
    for stream in gradients(steps=steps):
        optimizer.apply([ops.convert_to_tensor(g) for g in stream], variables)
    return [array(variable) for variable in variables]


def assert_equal(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_group_is_its_own_optimizer() -> None:
    def wrap(default: Any) -> Any:
        own = Group("v1", optimizer=OPTIMIZERS.SGD(0.3))
        return ParamGroups([own, Group("v2", lr_multiplier=0.5), Group("v3", frozen=True)], default)

    class Frozen(SGDOracle):
        def apply(self, gradients: Any, weights: Any, weight: float = 1.0) -> Any:
            return weights

    slow = MultiplierOracle(AdamOracle(0.1), [0.5])
    oracles = [SGDOracle(0.3), slow, Frozen(0.0), AdamOracle(0.1)]
    case = Case("groups", wrap, lambda inner: GroupsOracle(oracles, [3, 0, 1, 2]))

    follow_oracle(case, OPTIMIZERS.Adam(0.1), None, 2e-5, flush_after=25)


def test_a_case_for_the_head() -> None:
    names = ["fast", "plain", "still"]
    weights = [keras.Variable([1.0], name=name) for name in names]
    groups = [Group("fast", optimizer=OPTIMIZERS.SGD(0.5)), Group("still", frozen=True)]
    ParamGroups(groups, OPTIMIZERS.SGD(0.25)).apply([ops.ones(1)] * 3, weights)

    assert [array(weight).tolist() for weight in weights] == [[0.5], [0.75], [1.0]]


SAME = {
    "adamw": lambda: OPTIMIZERS.AdamW(0.1, weight_decay=0.1, global_clipnorm=1.0),
    "nesterov": lambda: OPTIMIZERS.SGD(0.1, momentum=0.9, nesterov=True, global_clipnorm=1.0),
    "nadam": lambda: OPTIMIZERS.Nadam(OPTIMIZERS.schedules.CosineDecay(0.1, 20), clipnorm=0.5),
    "lamb": lambda: OPTIMIZERS.Lamb(0.1, weight_decay=0.1, clipvalue=0.1),
    "lion": lambda: OPTIMIZERS.Lion(0.1, weight_decay=0.1),
    "muon": lambda: OPTIMIZERS.Muon(0.1, global_clipnorm=1.0),
    "adafactor": lambda: OPTIMIZERS.Adafactor(0.1),
    "ema": lambda: OPTIMIZERS.RMSprop(0.1, use_ema=True, ema_overwrite_frequency=2),
    "accumulating": lambda: OPTIMIZERS.Adam(0.1, gradient_accumulation_steps=2),
    "wrapped": lambda: Window(OPTIMIZERS.Adam(0.1), 2),
}


def test_groups_with_equal_settings_are_the_single_optimizer_bit_for_bit() -> None:
    equal_to_single("nesterov", [Group("v1"), Group("v[23]")])


@pytest.mark.slow
@pytest.mark.parametrize("groups", [[], ["v"], ["v1", "v[23]"]], ids=str)
@pytest.mark.parametrize("name", SAME)
def test_any_optimizer_in_any_number_of_equal_groups(name: str, groups: list[str]) -> None:
    equal_to_single(name, [Group(selector) for selector in groups])


def equal_to_single(name: str, groups: list[Group]) -> None:
    assert_equal(run(ParamGroups(groups, SAME[name]())), run(SAME[name]()))


def test_the_global_norm_is_that_of_all_groups_but_frozen_ones() -> None:
    weights = [keras.Variable([0.0], name=name) for name in ("a", "b", "still")]
    groups = [Group("a", optimizer=OPTIMIZERS.SGD(1.0)), Group("still", frozen=True)]
    optimizer = ParamGroups(groups, OPTIMIZERS.SGD(1.0, global_clipnorm=1.0))
    optimizer.apply([ops.array([3.0]), ops.array([4.0]), ops.array([100.0])], weights)

    moved = [float(array(weight)[0]) for weight in weights]
    np.testing.assert_allclose(moved, [-0.6, -0.8, 0.0], rtol=1e-6)


def test_a_transform_around_clips_over_all_groups() -> None:
    weights = [keras.Variable([0.0], name=name) for name in ("a", "b")]
    groups = ParamGroups([Group("a")], OPTIMIZERS.SGD(1.0))
    optimizer = GradientTransform(groups, transforms.clip_by_global_norm(1.0))
    optimizer.apply([ops.array([3.0]), ops.array([4.0])], weights)

    np.testing.assert_allclose([float(array(w)[0]) for w in weights], [-0.6, -0.8], rtol=1e-6)


def test_weight_decay_and_clipping_of_a_group() -> None:
    weights = [keras.Variable([10.0], name=name) for name in ("a", "b", "c")]
    groups = [Group("a", weight_decay=0.0), Group("b", clipnorm=2.0)]
    optimizer = ParamGroups(groups, OPTIMIZERS.SGD(0.5, weight_decay=0.25, clipvalue=4.0))
    optimizer.apply([ops.array([8.0])] * 3, weights)

    assert [float(array(w)[0]) for w in weights] == [10 - 2, 10 - 1.25 - 1, 10 - 1.25 - 2]


def test_settings_of_a_group_change_a_copy_of_its_own_optimizer() -> None:
    own = OPTIMIZERS.SGD(OPTIMIZERS.schedules.CosineDecay(0.5, 10), weight_decay=0.5)
    weight = keras.Variable([10.0], name="a")
    ParamGroups([Group("a", optimizer=own, weight_decay=0.0)], "sgd").apply([ops.ones(1)], [weight])

    assert array(weight).tolist() == [9.5]
    assert own.weight_decay == 0.5


def test_copies_exclude_from_decay_what_the_default_excludes() -> None:
    default = OPTIMIZERS.SGD(0.5, weight_decay=0.5)
    default.exclude_from_weight_decay(var_names=["bias"])
    weights = [keras.Variable([10.0], name=name) for name in ("bias", "kernel")]
    ParamGroups([Group(".", clipnorm=1.0)], default).apply([ops.zeros(1)] * 2, weights)

    assert [array(weight).tolist() for weight in weights] == [[10.0], [7.5]]


def test_a_frozen_group_keeps_nothing() -> None:
    variables = fresh_variables()
    optimizer = ParamGroups([Group("v3", frozen=True)], OPTIMIZERS.Adam(0.1))
    optimizer.build(variables)

    slots = [tuple(variable.shape) for variable in optimizer.variables]
    assert (3, 3, 2, 4) not in slots
    assert slots.count((5, 4)) == 2


def test_the_learning_rate_is_that_of_the_default_and_of_all_copies() -> None:
    own = OPTIMIZERS.SGD(0.5)
    groups = [Group("a"), Group("b", lr_multiplier=2.0), Group("c", optimizer=own)]
    optimizer = ParamGroups(groups, OPTIMIZERS.SGD(0.5))
    weights = [keras.Variable([0.0], name=name) for name in "abcd"]
    optimizer.learning_rate.assign(0.125)
    optimizer.apply([ops.ones(1)] * 4, weights)
    assert [array(weight)[0] for weight in weights] == [-0.125, -0.25, -0.5, -0.125]
    moved = []
    for rate in (0.25, OPTIMIZERS.schedules.CosineDecay(1.0, 10)):
        before = np.array([array(weight)[0] for weight in weights])
        optimizer.learning_rate = rate
        optimizer.apply([ops.ones(1)] * 4, weights)
        moved.append((before - [array(weight)[0] for weight in weights]).tolist())

    assert moved[0] == [0.25, 0.5, 0.5, 0.25]
    np.testing.assert_allclose(moved[1], [0.9045, 1.809, 0.5, 0.9045], rtol=1e-3)


def test_iterations_count_updates_however_the_groups_take_them() -> None:
    groups = [Group("a", optimizer=Window(OPTIMIZERS.SGD(0.1), 2)), Group("b", frozen=True)]
    optimizer = ParamGroups(groups, "sgd")
    first, second, third = (keras.Variable([0.0], name=name) for name in "abc")
    optimizer.apply([ops.ones(1)] * 3, [first, second, third])
    optimizer.apply([ops.ones(1)], [first])  # as in a loop that trains parts in turn
    optimizer.apply([ops.ones(1)], [third])

    assert int(array(ops.convert_to_tensor(optimizer.iterations))) == 2
    assert float(array(second)[0]) == 0.0
    np.testing.assert_allclose(array(first), [-0.1])


def test_it_nests_in_both_directions() -> None:
    """Wrappers outside, and (in the copies of the default) inside."""

    def nest(optimizer: Any) -> Any:
        return Trail(Window(optimizer, 2))

    groups = [Group("first/kernel"), Group("last", lr_multiplier=1.0)]
    inside = fit(compiled(ParamGroups(groups, nest(OPTIMIZERS.SGD(0.1)))))
    outside = fit(compiled(nest(ParamGroups(groups, OPTIMIZERS.SGD(0.1)))))

    assert_equal(inside.get_weights(), outside.get_weights())


def test_inside_of_loss_scaling() -> None:
    groups = ParamGroups([Group("first")], OPTIMIZERS.Adam(0.1))
    scaled = fit(compiled(OPTIMIZERS.LossScaleOptimizer(groups, 2.0**4)))

    assert_equal(scaled.get_weights(), fit(compiled(OPTIMIZERS.Adam(0.1))).get_weights())


def test_a_loss_scale_of_the_default_is_taken_off_once() -> None:
    groups = ParamGroups([Group("first")], OPTIMIZERS.SGD(0.1, loss_scale_factor=8.0))

    plain = fit(compiled(OPTIMIZERS.SGD(0.1)))
    assert_equal(fit(compiled(groups)).get_weights(), plain.get_weights())
    assert groups.get_config()["default"]["config"]["loss_scale_factor"] == 8.0


def test_save_and_load_continue_bit_for_bit(tmp_path: Path) -> None:
    model = compiled("sgd")
    groups = [
        Group(model.get_layer("first"), optimizer=Trail(OPTIMIZERS.Adam(0.1)), lr_multiplier=0.5),
        Group("last/bias", frozen=True),
    ]
    model.compile(
        ParamGroups(groups, OPTIMIZERS.AdamW(0.1, global_clipnorm=0.5), strict=False), loss="mse"
    )
    fit(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert_equal(fit(loaded).get_weights(), fit(model).get_weights())
    for a, b in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


def test_the_config_gives_back_what_was_taken_from_the_default() -> None:
    groups = [Group("a", optimizer="adam", clipnorm=2.0), Group(["b", "c"], frozen=True)]
    config = ParamGroups(groups, OPTIMIZERS.SGD(0.5, global_clipnorm=3.0)).get_config()

    assert config["default"]["config"]["global_clipnorm"] == 3.0
    assert ParamGroups.from_config(config).get_config() == config


def test_inject_makes_the_optimizer_the_default() -> None:
    default = OPTIMIZERS.SGD(0.5)
    model = inject(compiled(default), ParamGroups, groups=[Group("first", frozen=True)])
    before = model.get_weights()
    fit(model)

    assert model.optimizer.inner_optimizer is default
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_the_table_says_which_variable_went_where() -> None:
    model = compiled("sgd")
    groups = [
        Group("first/kernel", lr_multiplier=0.1, weight_decay=0.0),
        Group(model.get_layer("last"), frozen=True),
        Group("first/bias", weight_decay=0.1),
    ]
    default = OPTIMIZERS.AdamW(0.001, weight_decay=0.05, clipnorm=1.0)
    optimizer = ParamGroups(groups, default)
    optimizer.build(model.trainable_variables)
    printed: list[str] = []
    optimizer.summary(printed.append)

    first, *rows = printed[0].splitlines()
    cells = [" ".join(row.split()) for row in rows]
    assert " ".join(first.split()) == "group selector variables weights optimizer rate decay clip"
    assert cells[0] == "0 'first/kernel' 1 12 AdamW 0.001 × 0.1 0 1"
    assert cells[1] == "1 layer 'last' 2 5 frozen - - -"
    assert cells[2] == "2 'first/bias' 1 4 AdamW 0.001 0.1 1"
    assert cells[3] == "default everything else 0 0 AdamW 0.001 0.05 1"
    assert cells[4] == ""
    assert cells[6].endswith("first/kernel (3, 4)")
    assert [cell.split()[0] for cell in cells[6:]] == ["0", "1", "1", "2"]


def test_the_table_needs_the_variables() -> None:
    with pytest.raises(ValueError, match=r"is not built, so no variable went anywhere yet. Call"):
        ParamGroups([], "sgd").summary()


def test_without_strictness_nothing_may_match_and_the_first_group_wins() -> None:
    weights = [keras.Variable([0.0], name=name) for name in ("aa", "ab")]
    groups = [Group("zz"), Group("aa", frozen=True), Group("a", optimizer=OPTIMIZERS.SGD(2.0))]
    ParamGroups(groups, "sgd", strict=False).apply([ops.ones(1)] * 2, weights)

    assert [array(weight).tolist() for weight in weights] == [[0.0], [-2.0]]


def test_rows_pass_to_a_group() -> None:
    table = keras.layers.Embedding(4, 2, name="table")
    model = keras.Sequential([keras.Input((1,)), table, keras.layers.Dense(1)])
    own = TableDescent(OPTIMIZERS.SGD(0.1), rate=0.1)
    model.compile(ParamGroups([Group("table", optimizer=own)], "sgd"), loss="mse")
    before = array(table.embeddings)
    model.fit(np.zeros((2, 1)), np.ones((2, 1, 1)), verbose=0)

    assert (array(table.embeddings) != before).any(axis=1).tolist() == [True, False, False, False]


BAD = {
    "no list": (lambda: ParamGroups("head", "sgd"), r"`groups` must be a list of Group, received"),
    "no group": (lambda: ParamGroups(["head"], "sgd"), r"`groups` must be a list of Group, rec"),
    "no default": (lambda: ParamGroups([], None), r"ParamGroups wraps a Keras optimizer, received"),
    "optimizer": (lambda: Group("a", optimizer=3), r"`optimizer` of the group 'a' must be an opt"),
    "decay": (lambda: Group("a", weight_decay=-1), r"`weight_decay` of the group 'a' must be a n"),
    "clip": (lambda: Group("a", clipnorm=0), r"`clipnorm` of the group 'a' must be a number above"),
    "rate": (lambda: Group("a", lr_multiplier=-1), r"multiplier of 'a' must be a number ≥ 0 or a"),
    "frozen": (lambda: Group("a", frozen=True, clipnorm=1), r"The group 'a' is frozen, so nothing"),
    "loss scale inside": (
        lambda: ParamGroups([], OPTIMIZERS.LossScaleOptimizer(OPTIMIZERS.SGD())),
        r"LossScaleOptimizer cannot stand inside of ParamGroups",
    ),
    "own norm": (
        lambda: ParamGroups([Group("a", optimizer=OPTIMIZERS.SGD(global_clipnorm=1.0))], "sgd"),
        r"of a group has global_clipnorm=1.0, which is about all variables. Set it on the default",
    ),
    "wrapped norm": (
        lambda: ParamGroups([], Nothing(OPTIMIZERS.SGD(global_clipnorm=1.0))),
        r"`global_clipnorm=1.0` of the default cannot be global over all groups",
    ),
    "accumulated norm": (
        lambda: ParamGroups([], OPTIMIZERS.SGD(global_clipnorm=1.0, gradient_accumulation_steps=2)),
        r"`global_clipnorm=1.0` of the default cannot be global over all groups",
    ),
    "several": (
        lambda: ParamGroups([], ParamGroups([], "sgd")),
        r"default of ParamGroups must be one optimizer, received .* holds several",
    ),
    "multi": (
        lambda: ParamGroups(
            [], OPTIMIZERS.MultiOptimizer(OPTIMIZERS.OptimizerMap(OPTIMIZERS.SGD()))
        ),
        r"default of ParamGroups must be one optimizer, received .* holds several",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_at_the_door(name: str) -> None:
    make, message = BAD[name]

    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_an_optimizer_is_for_one_group_and_new() -> None:
    shared = OPTIMIZERS.SGD(0.1)
    used = OPTIMIZERS.SGD(0.1)
    used.build(fresh_variables())

    with pytest.raises(ValueError, match=r"The optimizer '.*' is given twice, and would count"):
        ParamGroups([Group("a", optimizer=shared), Group("b", optimizer=shared)], "adam")
    with pytest.raises(ValueError, match=r"The optimizer '.*' is given twice, and would count"):
        ParamGroups([Group("a", optimizer=shared)], shared)
    with pytest.raises(ValueError, match=r"The optimizer '.*' has been built for other variables"):
        ParamGroups([], used)


def test_the_default_is_left_alone_where_groups_are_wrong() -> None:
    default = OPTIMIZERS.SGD(0.1, global_clipnorm=1.0)
    own = OPTIMIZERS.SGD(0.1, global_clipnorm=1.0)

    with pytest.raises(ValueError, match="which is about all variables"):
        ParamGroups([Group("a", optimizer=own)], default)
    assert default.global_clipnorm == 1.0


def test_a_checkpoint_of_other_groups_is_an_error() -> None:
    variables = fresh_variables()
    one, other = (ParamGroups([Group(name)], "sgd") for name in ("v1", "v2"))
    one.build(variables)
    other.build(variables)
    store: dict[str, Any] = {}
    one.save_own_variables(store)

    with pytest.raises(ValueError, match=r"groups \[1, 1, 0, 1\], the checkpoint \[1, 0, 1, 1\]"):
        other.load_own_variables(store)
    with pytest.raises(ValueError, match=r"another nesting of wrappers"):
        other.load_own_variables({"0": store["0"]})
    one.load_own_variables(store)


def test_changed_variables_are_an_error() -> None:
    variables = fresh_variables()
    optimizer = ParamGroups([Group("v1")], "sgd")
    optimizer.apply([ops.ones(v.shape) for v in variables[:2]], variables[:2])

    with pytest.raises(ValueError, match=r"was built for other variables than \['v2'\]"):
        optimizer.apply([ops.ones(variables[2].shape)], [variables[2]])


def test_a_multiplier_around_groups() -> None:
    weights = [keras.Variable([0.0], name=name) for name in "ab"]
    groups = ParamGroups([Group("a", lr_multiplier=0.5)], OPTIMIZERS.SGD(1.0))
    LearningRateMultiplier(groups, {"a": 0.5, "b": 2.0}).apply([ops.ones(1)] * 2, weights)

    assert [array(weight).tolist() for weight in weights] == [[-0.25], [-2.0]]
