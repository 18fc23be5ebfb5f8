"""Fixed shapes: the titles of `Writer.write`, and nothing compiled after the warm-up."""

import numpy as np
import pytest

from kooler.core.replay import Replayed
from kooler.seq2seq.generation import hypotheses
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.serve.shapes import ShapedWriter
from kooler.seq2seq.stretches import Stretches
from kooler.seq2seq.writer import Writer
from tests.seq2seq.small_model import small_pair
from tests.seq2seq.small_run import small_run

TEXTS = ["The bakery in Toro closes.", "", "Toro", "A long text about nothing " * 5]


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    run = small_run(tmp_path_factory.mktemp("run"), lower_case=True)  # titles get capitals
    return ShapedWriter(Writer.load(run.path), 4, [2])


def test_the_shapes_are_few(writer):
    assert (writer.rows, writer.lengths) == ((1, 4), (16, 40))


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["mid", "best"])
def test_titles_are_those_of_the_writer(writer, order):
    expected = writer.writer.write(TEXTS, order=order, beam_size=2, n_best=2, max_length=5)

    found = writer.write(TEXTS, order, 2, 5)

    for own, others in zip(found, expected, strict=True):
        assert [title.text for title in own[:2]] == [title.text for title in others]
        np.testing.assert_allclose(
            [title.log_prob for title in own[:2]],
            [title.log_prob for title in others],
            rtol=1e-4,
        )


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["mid", "best"])
def test_what_grows_becomes_the_titles(writer, order):
    (expected,) = writer.write(TEXTS[:1], order, 2, 5)

    *steps, titles = writer.grow(TEXTS[0], order, 2, 5)

    assert [title.text for title in titles] == [title.text for title in expected]
    names = [step["order"] for step in steps]
    assert names == sorted(names, key=["l2r", "r2l", "mid"].index)
    assert set(names) == ({"l2r", "r2l", "mid"} if order == "best" else {"mid"})
    assert all({"left", "right", "log_prob"} == set(part) for s in steps for part in s["open"])


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["mid", "best"])
def test_titles_may_come_by_consensus(writer, order):
    by_consensus = ShapedWriter(writer.writer, 4, [4], rank_by="consensus")
    (titles,) = by_consensus.write(TEXTS[:1], order, 4, 5)
    (usual,) = writer.write(TEXTS[:1], order, 4, 5)
    options = {"order": order, "beam_size": 4, "max_length": 5, "n_best": 4}
    (expected,) = writer.writer.write(TEXTS[:1], rank_by="consensus", **options)
    *_, grown = by_consensus.grow(TEXTS[0], order, 4, 5)

    assert [title.text for title in titles[:4]] == [title.text for title in expected]
    assert [title.text for title in titles] != [title.text for title in usual]
    assert [title.text for title in grown] == [title.text for title in titles]


def test_another_ranking_is_refused(writer):
    with pytest.raises(ValueError, match="rank_by='length'"):
        ShapedWriter(writer.writer, 4, [2], rank_by="length")


@pytest.mark.compiles
def test_two_streams_grow_one_after_the_other(writer):
    tokenizer = writer.writer.tokenizer
    model = small_pair(tokenizer.size, layers=1)
    both = ShapedWriter(Writer(model, tokenizer, 40), 1, [2])
    (expected,) = both.write(TEXTS[:1], "best", 2, 5)

    *steps, titles = both.grow(TEXTS[0], "best", 2, 5)

    assert [title.text for title in titles] == [title.text for title in expected]
    names = [step["order"] for step in steps]
    assert names == sorted(names) and set(names) == {"l2r", "r2l"}


def test_an_empty_text_has_an_empty_title(writer):
    ((title,),) = writer.grow("", "best", 2, 5)

    assert (title.text, title.log_prob) == ("", 0.0)


def test_a_text_that_is_cut_is_known(writer):
    assert [writer.is_cut(text) for text in TEXTS] == [False, False, False, True]


@pytest.mark.compiles
@pytest.mark.parametrize("streams", ["one stream", "two streams"])
def test_nothing_is_compiled_after_the_warm_up(writer, streams):
    if streams == "two streams":
        model = small_pair(writer.writer.tokenizer.size, layers=1)
        writer = ShapedWriter(Writer(model, writer.writer.tokenizer, 40), 4, [2])
    for _ in writer.warm_up():
        pass
    model = writer.writer.model
    seen = compilations(model)
    for order in ("l2r", "best"):
        writer.write(TEXTS, order, 2, 3)
        writer.write(TEXTS[:1], order, 2, 7)
        list(writer.grow(TEXTS[3], order, 2, 4))

    assert compilations(model) == seen
    planted = np.full((3, 16), 7, "int32")
    hypotheses(model, planted, "l2r", Rules(2, model.max_length), limit=1)
    assert compilations(model) != seen


def compilations(model):
    """How often each function of a model was compiled; on PyTorch, called without a recording."""
    return {key: traces(value) for key, value in model.__dict__["_compiled_functions"].items()}


def traces(function):
    if isinstance(function, Replayed):
        return dict(function._counts)
    if isinstance(function, Stretches):
        parts = [function.begin, function.read_and_begin, *function._later.values()]
        return [dict(function._once._counts), *map(sizes, parts)]
    return sizes(function)


def sizes(function):
    """The sizes of the caches that a compiled function closes over."""
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        held = cell.cell_contents
        for name in ("_cache_size", "experimental_get_tracing_count"):
            if hasattr(held, name):
                found.append(getattr(held, name)())
        if callable(held) and getattr(held, "__closure__", None):
            found += sizes(held)
    return found
