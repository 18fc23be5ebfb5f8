"""Numbers, and the words for them."""

from kooler.callbacks.standing import Standing, chosen, words


def test_a_line_in_ones_head() -> None:
    standing = Standing(
        "train",
        done=30,
        total=40,
        epoch=2,
        epochs=3,
        updates=17,
        batches_per_second=2.0,
        counted=(64.0, "examples"),
        values={"loss": 0.25},
        memory={"memory": 2**30},
    )

    assert "  ".join(words(standing)) == (
        "epoch 2/3  train  batch 30/40  update 17  64 examples/s  0:05 left  loss 0.25  "
        "memory 1.0 GiB"
    )
    assert standing.seconds_left_in_all == 25.0


def test_what_nobody_knows_is_left_out() -> None:
    assert words(Standing("predict", done=3)) == ["predict", "batch 3/?"]


def test_metrics_by_pattern() -> None:
    logs = {"loss": 1.0, "val_loss": 2.0, "mae": 3.0, "name": "x"}

    assert list(chosen(logs, "loss$")) == ["loss", "val_loss"]
    assert list(chosen(logs, None)) == ["loss", "val_loss", "mae"]
