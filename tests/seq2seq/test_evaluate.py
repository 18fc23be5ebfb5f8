"""Scores against hand-computed cases and second opinions written from the definitions."""

from collections import Counter
from itertools import combinations
from math import exp, isclose, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.seq2seq.evaluate import evaluate_titles, rouge_tokens

words = st.lists(st.sampled_from(["a", "b", "c", "模", "型"]), max_size=6)


def f1(overlap, written, wanted):
    return 2 * overlap / (written + wanted) if overlap else 0.0


def ngram_f1(written, wanted, n):
    """ROUGE-N of two token lists, by multisets."""
    ours, theirs = (
        Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
        for tokens in (written, wanted)
    )
    return f1((ours & theirs).total(), ours.total(), theirs.total())


def longest_common_subsequence(one, two):
    """By brute force: every subsequence of one, looked up among those of the other."""
    for size in range(min(len(one), len(two)), 0, -1):
        if set(combinations(one, size)) & set(combinations(two, size)):
            return size
    return 0


def chrf2(written, wanted):
    """chrF2 of one sentence (Popović 2015): F, beta 2, of mean n-gram precision and recall."""
    written, wanted = written.replace(" ", ""), wanted.replace(" ", "")
    precisions, recalls = [], []
    for n in range(1, 7):
        ours, theirs = (
            Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in (written, wanted)
        )
        if ours and theirs:
            overlap = (ours & theirs).total()
            precisions.append(overlap / ours.total())
            recalls.append(overlap / theirs.total())
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_a_perfect_title_has_every_score_at_100():
    scores = evaluate_titles(["flood hits the old city"], ["flood hits the old city"])

    rates = (scores.exact, scores.rouge_1, scores.rouge_2, scores.rouge_l, scores.bleu, scores.chrf)
    assert rates == pytest.approx((100,) * 6)
    assert (scores.first_tokens, scores.last_tokens, scores.length_ratio) == (100, 100, 1)


def test_hand_computed_rouge():
    scores = evaluate_titles(["the cat sat"], ["the cat lay and sat"])

    assert scores.rouge_1 == pytest.approx(100 * 2 * 3 / (3 + 5))  # the, cat, sat
    assert scores.rouge_2 == pytest.approx(100 * 2 * 1 / (2 + 4))  # the cat
    assert scores.rouge_l == pytest.approx(100 * 2 * 3 / (3 + 5))  # in order


def test_rouge_l_minds_the_order_and_rouge_1_does_not():
    scores = evaluate_titles(["c b a"], ["a b c"])

    assert scores.rouge_1 == pytest.approx(100)
    assert scores.rouge_l == pytest.approx(100 / 3)


def test_hand_computed_bleu_and_its_signature():
    scores = evaluate_titles(["a b c d e f"], ["a b c d e x y"])

    precision = (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert scores.bleu == pytest.approx(100 * exp(1 - 7 / 6) * precision)
    assert scores.bleu_signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert scores.chrf_signature.startswith(
        "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:"
    )


def test_chrf_against_its_definition():
    written, wanted = "storm shuts port", "storms shut the port"
    assert evaluate_titles([written], [wanted]).chrf == pytest.approx(chrf2(written, wanted))


@settings(max_examples=60, deadline=None)
@given(written=words, wanted=words.filter(bool))
def test_rouge_against_the_definitions(written, wanted):
    scores = evaluate_titles([" ".join(written)], [" ".join(wanted)], tokenize="none")

    common = longest_common_subsequence(written, wanted)
    assert isclose(scores.rouge_1, 100 * ngram_f1(written, wanted, 1), abs_tol=1e-9)
    assert isclose(scores.rouge_2, 100 * ngram_f1(written, wanted, 2), abs_tol=1e-9)
    assert isclose(scores.rouge_l, 100 * f1(common, len(written), len(wanted)), abs_tol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(words, words.filter(bool)), min_size=1, max_size=5), st.randoms())
def test_no_score_depends_on_the_order_of_the_pairs(pairs, random):
    def scores(pairs):
        written, wanted = zip(*((" ".join(a), " ".join(b)) for a, b in pairs), strict=True)
        return evaluate_titles(written, wanted, tokenize="none")

    shuffled = random.sample(pairs, len(pairs))
    assert scores(shuffled)[:-2] == pytest.approx(scores(pairs)[:-2])


def test_rouge_tokens():
    assert rouge_tokens("BERT-base: 模型 x2, かなカナ 한글!") == [
        *("bert", "base", "模", "型", "x2", "か", "な", "カ", "ナ", "한", "글"),
    ]
    assert rouge_tokens("𠀀㐀豈") == ["𠀀", "㐀", "豈"]
    assert rouge_tokens("，。、· 🎉 ---") == []


def test_chinese_counts_by_characters_in_rouge_and_bleu():
    scores = evaluate_titles(["双官能团染料应用"], ["双官能团染料的应用"])

    assert scores.rouge_1 == pytest.approx(100 * 2 * 8 / 17)
    assert scores.rouge_2 == pytest.approx(100 * 2 * 6 / 15)
    assert "tok:zh" in scores.bleu_signature
    assert scores.mean_reference_length == 9
    assert scores.bleu > 40


def test_auto_goes_by_the_majority_of_the_reference_tokens():
    def signature(reference, **keywords):
        return evaluate_titles(["x"], [reference], **keywords).bleu_signature

    assert "tok:zh" in signature("用 BERT 写标题")
    assert "tok:13a" in signature("writing headlines with 模型")
    assert "tok:13a" in signature("用 BERT 写标题", tokenize="13a")


def test_tokenised_text_with_pieces_of_words():
    written, wanted = "ein ro@@ tes haus @-@ boo@@", "ein rotes haus @-@ boo"
    joined = evaluate_titles([written], [wanted], tokenize="none", join_subwords=True)
    pieces = evaluate_titles([written], [wanted], tokenize="none")

    assert (joined.exact, joined.bleu, joined.mean_length) == (100, pytest.approx(100), 5)
    assert (pieces.exact, pieces.mean_length) == (0, 6)
    assert "tok:none" in joined.bleu_signature


def test_many_tokenised_lines_do_not_warn_where_that_was_said(caplog):
    lines = ["so it is ."] * 120
    evaluate_titles(lines, lines, tokenize="none")
    assert not caplog.records

    evaluate_titles(lines, lines, tokenize="13a")
    assert "tokenized period" in caplog.text


def test_exact_match_is_about_characters_but_not_about_runs_of_spaces():
    written = ["Flood hits city", "flood  hits\tcity ", "Flood hits city."]
    assert evaluate_titles(written, ["Flood hits city"] * 3).exact == pytest.approx(100 / 3)
    assert evaluate_titles(written[1:2], ["flood hits city"]).exact == 100


def test_first_and_last_four_tokens():
    wanted = "a b c d e f"
    scores = evaluate_titles(["a b x d e g f", "c", ""], [wanted, "a b c", "q"])

    assert scores.first_tokens == pytest.approx(100 * (3 + 0 + 0) / (4 + 3 + 1))  # a b . d
    assert scores.last_tokens == pytest.approx(100 * (1 + 1 + 0) / (4 + 3 + 1))  # f; c
    assert scores.length_ratio == pytest.approx((7 + 1 + 0) / (6 + 3 + 1))
    assert scores.mean_length == pytest.approx(8 / 3)
    assert scores.mean_reference_length == pytest.approx(10 / 3)


def test_an_empty_title_scores_zero_and_is_counted():
    scores = evaluate_titles(["", "storm shuts port"], ["flood hits city", "storm shuts port"])

    assert scores.titles == 2
    assert (scores.exact, scores.rouge_1, scores.rouge_l) == pytest.approx((50, 50, 50))
    assert scores.length_ratio == 0.5
    only_empty = evaluate_titles(["", " "], ["flood", "storm"])
    assert only_empty[1:10] == (0,) * 9


def test_what_rouge_cannot_see_is_counted():
    scores = evaluate_titles(["Наводнение в городе", "🎉"], ["Наводнение в городе", "🎉"])

    assert (scores.exact, scores.first_tokens, scores.rouge_1) == (100, 100, 0)
    assert scores.references_without_tokens == 2


@pytest.mark.parametrize(
    ("written", "wanted", "keywords", "message"),
    [
        ([], [], {}, "received 0 titles. Give at least one pair"),
        (["a"], ["a", "b"], {}, "received 1 titles and 2 references. Write an empty title"),
        ("ab", ["a", "b"], {}, "`hypotheses` must be a list of titles, received the string 'ab'"),
        (["a"], [None], {}, "`references` must hold strings, received None at index 0"),
        (["a", "b"], ["a", " "], {}, "received '' at index 1. Remove that pair"),
        (["a"], ["@@"], {"join_subwords": True}, "received '' at index 0. Remove that pair"),
        (["a"], ["a"], {"tokenize": "bert"}, "one of auto, 13a, .* received 'bert'. Use \"13a\""),
    ],
)
def test_errors_say_what_to_do(written, wanted, keywords, message):
    with pytest.raises(ValueError, match=message):
        evaluate_titles(written, wanted, **keywords)


def test_bleu_is_a_corpus_score_not_a_mean_of_titles():
    scores = evaluate_titles(["a b c d", "w x y q"], ["a b c d", "w x y z"])

    logs = [log(part) for part in (7 / 8, 5 / 6, 3 / 4, 1 / 2)]
    assert scores.bleu == pytest.approx(100 * exp(sum(logs) / 4))
