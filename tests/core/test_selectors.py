"""Selectors: four kinds, resolved in one place, loud when nothing or too much matches."""

import re

import keras
import pytest

from kooler.core.selectors import as_config, select, select_each, shown


@pytest.fixture
def model() -> keras.Model:
    body = keras.Sequential(
        [keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")], name="body"
    )
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(body(inputs)), name="net")


def paths(variables: list) -> list[str]:
    return [variable.path for variable in variables]


def test_a_regular_expression_is_searched_in_the_path(model: keras.Model) -> None:
    found = select(r"second/(kernel|bias)$", model.trainable_variables)

    assert paths(found) == ["body/second/kernel", "body/second/bias"]


def test_a_layer_means_its_variables_and_those_of_its_layers(model: keras.Model) -> None:
    found = select(model.get_layer("body"), model.trainable_variables)

    assert [id(v) for v in found] == [id(v) for v in model.get_layer("body").variables]


def test_a_variable_means_itself_also_where_another_is_equal(model: keras.Model) -> None:
    bias = model.get_layer("head").bias

    (found,) = select(bias, model.trainable_variables)

    assert found is bias


def test_a_list_means_the_union_in_the_order_of_the_variables(model: keras.Model) -> None:
    found = select(["head/bias", model.get_layer("head"), ["first/b"]], model.trainable_variables)

    assert paths(found) == ["body/first/bias", "head/kernel", "head/bias"]


def test_a_typing_error_shows_the_nearest_paths(model: keras.Model) -> None:
    with pytest.raises(ValueError) as error:
        select("body/frist/kernel", model.trainable_variables)

    assert str(error.value).startswith(
        "The selector 'body/frist/kernel' matches none of the 6 variables. "
        "The nearest paths: 'body/first/kernel', "
    )


def test_matching_nothing_may_be_allowed(model: keras.Model) -> None:
    assert select("frist", model.trainable_variables, allow_nothing=True) == []
    assert paths(select(["frist", "head/b"], model.variables, allow_nothing=True)) == ["head/bias"]


def test_one_bad_part_of_a_list_is_an_error(model: keras.Model) -> None:
    with pytest.raises(ValueError, match="The selector 'hat' matches none of the 6 variables"):
        select(["head", "hat"], model.trainable_variables)


def test_a_layer_of_another_model_matches_nothing(model: keras.Model) -> None:
    other = keras.layers.Dense(2, name="other")
    other.build((None, 3))

    with pytest.raises(ValueError, match="The selector layer 'other' matches none"):
        select(other, model.trainable_variables)


def test_among_no_variables_the_error_says_so() -> None:
    with pytest.raises(ValueError, match="none: there are no variables"):
        select("kernel", [])


def test_an_unbuilt_layer_says_what_to_do(model: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"layer 'dense.*is not built, so it has no variables yet"):
        select(keras.layers.Dense(3, name="dense"), model.trainable_variables)


def test_an_empty_list_is_an_error(model: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"The selector \[\] is empty"):
        select([], model.trainable_variables)


def test_an_invalid_regular_expression_is_an_error(model: keras.Model) -> None:
    with pytest.raises(ValueError, match=re.escape("'kernel(' is not a valid regular expression")):
        select("kernel(", model.trainable_variables)


@pytest.mark.parametrize("selector", [3, None, {"head"}, keras.Model])
def test_another_type_is_an_error(model: keras.Model, selector: object) -> None:
    with pytest.raises(TypeError, match=r"is not a selector. Use a layer, a variable, a regular"):
        select(selector, model.trainable_variables)


def test_each_variable_gets_the_value_of_its_selector(model: keras.Model) -> None:
    values = select_each({"first": 0.1, "head/bias": 0.0}, model.trainable_variables)

    assert values == [0.1, 0.1, None, None, None, 0.0]


def test_pairs_may_have_selectors_that_no_dictionary_can_hold(model: keras.Model) -> None:
    values = select_each([(["first", "head"], "a")], model.trainable_variables)

    assert values == ["a", "a", None, None, "a", "a"]


def test_two_selectors_for_one_variable_are_an_error(model: keras.Model) -> None:
    selectors = [("body", 1), (model.get_layer("body").layers[1], 2)]

    with pytest.raises(ValueError) as error:
        select_each(selectors, model.trainable_variables)

    assert str(error.value) == (
        "The selectors 'body' and layer 'second' both match the variable 'body/second/kernel', "
        "and only one may. Make one of them narrower."
    )


def test_a_config_is_made_of_strings_and_selects_the_same(model: keras.Model) -> None:
    selector = ["first/k", model.get_layer("head"), model.get_layer("body").layers[1].bias]

    config = as_config(selector)

    assert config == ["first/k", ["^head/kernel$", "^head/bias$"], "^body/second/bias$"]
    assert paths(select(config, model.trainable_variables)) == paths(
        select(selector, model.trainable_variables)
    )


def test_a_config_of_no_selector_is_an_error() -> None:
    with pytest.raises(TypeError, match="3 of type int is not a selector"):
        as_config(3)


def test_messages_show_each_kind(model: keras.Model) -> None:
    head = model.get_layer("head")

    assert shown(["a", head, head.bias]) == "['a', layer 'head', variable 'head/bias']"


def test_a_layer_is_found_again_without_the_name_of_a_sequential_model() -> None:
    layers = [keras.layers.Dense(2, name="first"), keras.layers.BatchNormalization(name="norm")]
    made = keras.Sequential([keras.Input((2,)), *layers], name="net")
    loaded = keras.Sequential.from_config(made.get_config())

    configs = [as_config(layer, made.trainable_variables) for layer in layers]

    assert paths(select(configs, loaded.trainable_variables)) == paths(loaded.trainable_variables)


def test_a_path_is_written_whole_where_its_end_is_not_enough() -> None:
    variables = []
    for scope in ("net", "other"):
        with keras.name_scope(scope), keras.name_scope("dense"):
            variables.append(keras.Variable(0.0, name="bias"))
    with keras.name_scope("dense"):
        variables.append(keras.Variable(0.0, name="bias"))

    assert as_config(variables[0], variables[:2]) == r"^(net/)?dense/bias$"
    assert as_config(variables[0], variables) == r"^net/dense/bias$"
