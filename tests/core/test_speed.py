"""Speed, with a clock that a person can follow."""

from kooler.core.speed import Speed


def test_speed_is_that_of_the_window() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    for second in range(100):
        now[0] = float(second)
        speed.see(second if second < 60 else 60 + 10 * (second - 60))

    assert speed.per_second() == 10.0


def test_speed_is_unknown_at_first_and_when_a_count_begins_anew() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    assert speed.per_second() is None

    for count in (0, 5, 1):
        speed.see(count)
        now[0] += 1.0

    assert speed.per_second() is None
