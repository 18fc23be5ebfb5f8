import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.generation import generate
from kooler.seq2seq.order import ORDERS
from kooler.seq2seq.reading import memory_of, read
from kooler.seq2seq.scoring import candidate_scores
from tests.seq2seq.small_model import small_model, small_recurrent

SOURCE = np.array([[6, 7, 8, 0], [7, 6, 0, 0], [8, 8, 8, 6]], "int32")
MADE = {
    "pointer": lambda: small_model(layers=1, pointer=True),
    "recurrent": lambda: small_recurrent(layers=1),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_read_is_what_the_encoder_makes(kind):
    model = MADE[kind]()
    sources = read(model, SOURCE)

    assert sources.size == 3
    assert all(part.shape[0] == 3 for part in sources.parts)
    again = memory_of(model, sources.parts)
    expected = model.encode(ops.convert_to_tensor(SOURCE))
    for one, other in zip(flat(again), flat(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def flat(memory):
    """Every tensor of a memory."""
    layers = memory.layers if isinstance(memory.layers, list) else list(memory.layers)
    found = [part for part in leaves(layers) if part is not None]
    return found if memory.copyable is None else [*found, ops.convert_to_numpy(memory.copyable)]


def leaves(nest):
    if isinstance(nest, (list, tuple)):
        return [leaf for part in nest for leaf in leaves(part)]
    return [None if nest is None else ops.convert_to_numpy(nest)]


def test_sources_that_are_read_stay_as_they_are():
    model = small_model(layers=1)
    sources = read(model, SOURCE)

    assert read(model, sources) is sources


@pytest.mark.compiles
def test_best_reads_each_batch_once(monkeypatch):
    model = small_model(layers=1)
    encode, calls = model.encode, []

    def counted(source, *given):
        calls.append(tuple(source.shape))
        return encode(source, *given)

    monkeypatch.setattr(model, "encode", counted)
    generate(model, [[6, 7, 8], [7]], order="best", beam_size=2)

    assert len(model.orders) == len(ORDERS)
    assert calls == [(2, 8)]


def test_new_weights_are_read_anew():
    model = small_model(layers=1)
    before = [ops.convert_to_numpy(part).copy() for part in read(model, SOURCE).parts]
    model.embeddings.assign(model.embeddings * 2)
    after = [ops.convert_to_numpy(part) for part in read(model, SOURCE).parts]

    assert any(not np.allclose(one, other) for one, other in zip(before, after, strict=True))


def test_more_sources_than_are_scored_at_once(monkeypatch):
    from kooler.seq2seq import scoring

    model = small_model(layers=1)
    targets = [[(6, 7)], [(8,)], [(7, 7, 6)]]
    whole = candidate_scores(model, SOURCE, targets, ("mid",))
    monkeypatch.setattr(scoring, "TOGETHER", 2)

    np.testing.assert_allclose(candidate_scores(model, SOURCE, targets, ("mid",)), whole, rtol=1e-5)
