"""TrainingSpeed, with a clock that a person can follow."""

from kooler.seq2seq.speed import TrainingSpeed


def test_speed_is_that_of_the_window():
    now = [0.0]
    speed = TrainingSpeed(lambda: now[0])

    speed.add(1, 100)
    assert speed.tokens() is None
    now[0] = 10.0
    speed.add(2, 50)

    assert speed.tokens() == 5.0  # 50 tokens in 10 seconds
    assert speed.updates() == 0.1


def test_what_is_long_ago_is_forgotten():
    now = [0.0]
    speed = TrainingSpeed(lambda: now[0])
    speed.add(1, 100)
    for update in range(2, 100):  # after 1000 seconds of waiting, one update a second
        now[0] = 1000.0 + update
        speed.add(update, 7)

    assert speed.updates() == 1.0
    assert speed.tokens() == 7.0


def test_no_time_between_two_updates_is_no_speed():
    speed = TrainingSpeed(lambda: 1.0)
    speed.add(1, 1)
    speed.add(2, 1)

    assert speed.tokens() is None
