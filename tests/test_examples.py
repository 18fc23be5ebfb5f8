"""The examples run: small, and on data that they make themselves."""

from pathlib import Path

import pytest

from examples import adversarial_text, sharpness

pytestmark = pytest.mark.compiles


def test_adversarial_training_of_a_text_classifier(tmp_path: Path) -> None:
    parts = [adversarial_text.made_sentences(400, seed) for seed in (1, 2)]
    file = tmp_path / "train.tsv"
    rows = zip(*parts[0], strict=True)
    file.write_text("".join(f"{label}\t{text}\n" for text, label in rows), "utf-8")
    assert adversarial_text.read_sentences(file) == parts[0]
    words = adversarial_text.vocabulary(parts[0][0])
    train, dev = (adversarial_text.encoded(*part, words) for part in parts)

    found = adversarial_text.accuracy(
        train, dev, len(words), way="fast", epsilon=0.1, seed=0, epochs=12
    )

    assert train[0].max() == len(words) + 1
    assert found > 0.65  # half of the labels would be right without learning


def test_sharpness_aware_training_ends_in_a_flatter_place() -> None:
    results = sharpness.run(examples=60, epochs=12, rho=0.2)

    assert results["sharpness aware"][1] < results["plain"][1]
