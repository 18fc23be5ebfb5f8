import numpy as np
import pytest

from kooler.seq2seq import export_ctranslate2, generate, score
from kooler.seq2seq.order import ORDERS
from tests.seq2seq.small_model import small_model

ctranslate2 = pytest.importorskip("ctranslate2", reason="the second opinion is not installed")

VOCABULARY = 40
SOURCES = [
    np.random.default_rng(n).integers(6, VOCABULARY, length).tolist()
    for n, length in enumerate((3, 7, 5, 8, 1, 6))
]


def translator_of(model, directory, order):
    export_ctranslate2(model, directory, order=order)
    return ctranslate2.Translator(str(directory), inter_threads=1, intra_threads=1)


def ending_model(**arguments):
    """A model that likes to end: unfinished hypotheses are not comparable."""
    model = small_model(VOCABULARY, **arguments)
    norm = model.final_norms[1] if model.final_norms else model.decoder[-1].feedforward_norm
    norm.beta.assign(norm.beta + 1.5 * model.embeddings[1])
    return model


def names(ids):
    return [str(token) for token in ids]


@pytest.mark.parametrize(("order", "norm", "layers"), [("l2r", "post", 2), ("r2l", "pre", 1)])
def test_log_probabilities_and_n_best_lists_are_those_of_ctranslate2(tmp_path, order, norm, layers):
    model = ending_model(norm=norm, layers=layers, seed=3)
    translator = translator_of(model, tmp_path, order)
    ours = generate(
        model, SOURCES, order=order, beam_size=4, n_best=3, max_length=40, early_stopping=True
    )
    theirs = translator.translate_batch(
        [names(source) for source in SOURCES],
        beam_size=4,
        num_hypotheses=3,
        length_penalty=1.0,
        return_scores=True,
        max_decoding_length=40,
        min_decoding_length=0,
    )
    for row, result in enumerate(theirs):
        read = -1 if order == "r2l" else 1
        expected = [[int(token) for token in found][::read] for found in result.hypotheses]
        found = [ids[ids != 0].tolist() for ids in ours.ids[row]]

        assert all(len(ids) < 40 for ids in found)
        assert found == expected
        np.testing.assert_allclose(ours.scores[row], result.scores, rtol=1e-5, atol=1e-5)
    assert len({len(found) for result in theirs for found in result.hypotheses}) > 2


def test_a_given_target_has_the_same_log_probability_in_ctranslate2(tmp_path):
    model = small_model(VOCABULARY + 5, target_vocabulary_size=VOCABULARY, layers=1, seed=4)
    translator = translator_of(model, tmp_path, "l2r")
    targets = [source[::-1][:4] for source in SOURCES]
    results = translator.score_batch(
        [names(source) for source in SOURCES], [names(target) for target in targets]
    )
    theirs = [sum(result.log_probs) for result in results]

    np.testing.assert_allclose(score(model, SOURCES, targets), theirs, rtol=1e-5, atol=1e-5)


def test_what_ctranslate2_cannot_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`order` must be one of l2r, r2l, received order='mid'"):
        export_ctranslate2(small_model(12, orders=ORDERS), tmp_path, order="mid")
    with pytest.raises(ValueError, match="CTranslate2 knows no copy prior, no pointer"):
        export_ctranslate2(small_model(12, copy_prior=True), tmp_path)
