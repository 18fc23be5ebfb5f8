"""Each baseline against a plain reading of its definition."""

import random
import re
from collections import Counter
from math import log, sqrt

import pytest

from kooler.seq2seq import baselines as module
from kooler.seq2seq.baselines import (
    baselines,
    lead,
    mean_title_words,
    oracle_sentences,
    sentences,
)

TRAIN = [
    ("Storm Anna hit Lisbon. Trees fell on roads.", "Storm Anna hits Lisbon"),
    ("The bank of Oslo cut its rates. Loans are cheaper.", "Oslo bank cuts rates"),
    ("A team from Kyoto won the cup. Fans sang.", "Kyoto wins cup"),
    ("The river rose. Roads in Lisbon are closed.", "River closes roads"),
]
SOURCES = [
    "Fans in Kyoto sang all night. The team won. It rained.",
    "Rates rose. The bank of Rome raised its rates. Analysts at the bank yawned.",
    "Trees and roads: a storm came.",
]


def tfidf_vectors(train, texts):
    """TF-IDF by hand: tf · (ln((1 + n) / (1 + df)) + 1), scaled to length 1."""
    split = {text: re.findall(r"\w+", text.lower()) for text in [*train, *texts]}
    frequency = Counter(word for text in train for word in set(split[text]))
    vectors = []
    for text in texts:
        weights = {
            word: count * (log((1 + len(train)) / (1 + frequency[word])) + 1)
            for word, count in Counter(split[text]).items()
            if word in frequency
        }
        length = sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        vectors.append({word: weight / length for word, weight in weights.items()})
    return vectors


def cosine(one, two):
    return sum(weight * two.get(word, 0.0) for word, weight in one.items())


def test_what_each_one_writes():
    written = baselines(TRAIN, SOURCES[:2])

    assert written == {
        "lead": ["Fans in Kyoto sang", "Rates rose. The bank"],  # (4 + 4 + 3 + 3) / 4 words
        "first sentence": ["Fans in Kyoto sang all night.", "Rates rose."],
        "best sentence": ["Fans in Kyoto sang all night.", "The bank of Rome raised its rates."],
        "nearest title": ["Kyoto wins cup", "Oslo bank cuts rates"],
    }


def test_nearest_title_against_tfidf_by_hand(monkeypatch):
    monkeypatch.setattr(module, "SOURCES_AT_ONCE", 8)  # 20 sources: full chunks and a partial one
    generator = random.Random(3)
    texts = [
        " ".join(generator.choices(["rain", "Rain", "snow", "wind", "fog", "sun"], k=9))
        + generator.choice(["", " hail", " frost frost frost"])
        for _ in range(50)
    ]
    train, sources = texts[:30], texts[30:]
    ours, theirs = tfidf_vectors(train, sources), tfidf_vectors(train, train)

    titles = baselines([(text, str(i)) for i, text in enumerate(train)], sources)["nearest title"]
    for vector, title in zip(ours, titles, strict=True):
        highest = max(cosine(vector, other) for other in theirs)
        assert cosine(vector, theirs[int(title)]) == pytest.approx(highest, abs=1e-6)


def test_best_sentence_against_mean_similarity_by_hand():
    train = [source for source, _ in TRAIN]
    closest_is_not_central = "Fans sang. Fans sang. The Oslo bank. Bank rates. The rates."
    sources, expected = [*SOURCES, closest_is_not_central, "Qqq. Roads."], []
    for source in sources:
        parts = sentences(source)
        vectors = tfidf_vectors(train, parts)
        centrality = [sum(cosine(v, w) for w in vectors if w is not v) for v in vectors]
        expected.append(parts[centrality.index(max(centrality))])

    assert baselines(TRAIN, sources)["best sentence"] == expected


def test_chinese():
    train = [
        ("东京队赢得冠军。球迷欢呼。", "东京队夺冠"),
        ("央行下调利率。贷款更便宜。", "央行降息"),
    ]
    written = baselines(train, ["昨天下雨。央行又下调了利率！贷款利率也下调。"])

    assert written == {
        "lead": ["昨天下雨"],  # 4.5 characters, rounded to even
        "first sentence": ["昨天下雨。"],
        "best sentence": ["央行又下调了利率！"],
        "nearest title": ["央行降息"],
    }


def test_a_source_that_shares_no_word_gets_the_first_title():
    assert baselines(TRAIN, ["zzz"])["nearest title"] == ["Storm Anna hits Lisbon"]


def test_emoji_and_empty_sources_are_no_problem():
    written = baselines([("🌧️🌧️ !", "🌧️"), ("☀️", "☀️ sun")], ["☀️ ☀️", ""])

    assert written["nearest title"][0] == "☀️ sun"
    assert [titles[1] for titles in written.values()] == ["", "", "", "🌧️"]
    assert written["lead"][0] != ""
    assert baselines(TRAIN, []) == {name: [] for name in written}


def test_training_pairs_may_be_a_stream_and_are_capped():
    stream = ((f"word{index} text", f"title {index}") for index in range(50))
    titles = baselines(stream, [f"word{index}" for index in range(50)], train_limit=10)

    found = set(titles["nearest title"])
    assert len(found) == 10
    assert max(int(title.split()[1]) for title in found) >= 10  # not just the first ten


def test_the_sample_gives_each_pair_the_same_chance(monkeypatch):
    generator = module.random.Random(7)
    monkeypatch.setattr(module.random, "Random", lambda seed: generator)
    pairs = [(str(index), "") for index in range(8)]
    drawn = Counter(int(a) for _ in range(4000) for a, _ in module._sample(pairs, 3))

    assert all(abs(drawn[index] / 4000 - 3 / 8) < 0.03 for index in range(8))


def test_the_same_call_gives_the_same_titles():
    pairs = [(f"a b{index} c{index % 3}", str(index)) for index in range(30)]
    assert baselines(pairs, SOURCES, train_limit=5) == baselines(pairs, SOURCES, train_limit=5)


def test_few_pairs_are_all_kept_in_order():
    assert module._sample(iter(TRAIN), 4) == TRAIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "Stop." Then left.', ['He said "Stop."', "Then left."]),
        (
            "It is 3.5 m, e.g. Rome. Or vs. Oslo. No.",
            ["It is 3.5 m, e.g. Rome.", "Or vs. Oslo.", "No."],
        ),
        ("J. Smith et al. Won in Fig. 3. Yes", ["J. Smith et al. Won in Fig. 3.", "Yes"]),
        ("it rained. then it snowed.", ["it rained.", "then it snowed."]),
        ("A b . c d ! e", ["A b .", "c d !", "e"]),
        (
            "下雨。“走！”他说；好.对吗? 3.5米",
            ["下雨。", "“走！”", "他说；", "好.", "对吗?", "3.5米"],
        ),
        ("Title line\nBody. ", ["Title line", "Body."]),
        ("  ", [""]),
        ("", [""]),
        ("...", ["..."]),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


def test_sentences_lose_nothing_but_white_space():
    text = "Rain (heavy!) fell… Dr. No, 5 p.m.\n他说：“好。” Ende?"
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Heavy rain, in the end.", 3, "Heavy rain, in"),
        ("  ‘Naïve’ Bayes", 1, "‘Naïve"),
        ("用 BERT-base 写标题", 4, "用 BERT-base 写"),
        ("用BERT模型写标题", 3, "用BERT模"),
        ("short", 9, "short"),
        ("🎉🎈!", 2, "🎉🎈"),
        (" ", 2, ""),
    ],
)
def test_lead(text, words, expected):
    assert lead(text, words) == expected


def test_mean_title_words():
    assert mean_title_words(["a b c", "a-b", "模型 x y z w"]) == 4  # (3 + 2 + 6) / 3
    assert mean_title_words(["", "a"]) == 1


def test_the_oracle_looks_at_the_reference():
    source = "Cats sleep. The old dog sleeps in the sun. A dog sleeps."

    assert oracle_sentences([source] * 3, ["dog sleeps", "cats", "birds"]) == [
        "A dog sleeps.",
        "Cats sleep.",
        "Cats sleep.",
    ]


@pytest.mark.parametrize("pairs", [[], [(" ", "title")]])
def test_no_training_pair_is_an_error(pairs):
    with pytest.raises(ValueError, match=r"received none with a text as its source. Give at least"):
        baselines(pairs, SOURCES)


def test_a_limit_below_one_is_an_error():
    with pytest.raises(ValueError, match=r"at least 1, received 0. The default is 20000"):
        baselines(TRAIN, SOURCES, train_limit=0)
