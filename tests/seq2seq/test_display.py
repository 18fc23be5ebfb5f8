"""Displays: redrawn on a terminal and clean afterwards, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from kooler.seq2seq.display import LiveDisplay, Look, PlainDisplay, Silence, Step, make_display

STEP = Step(update=120, updates=400, loss=2.34567, tokens=1000, learning_rate=5e-4)
LOOK = Look(
    update=100,
    nll={"l2r": 0.52, "mid": 0.61},
    exact=43.2,
    source="Velbako, a bakery [bold]in[/bold] Toro,\tcloses \x1b[31m火.",
    reference="Velbako to close",
    title="Velbako to open",
)
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def test_a_pipe_gets_plain_lines():
    stream = io.StringIO()
    clock = Clock()

    with PlainDisplay(stream, clock) as display:
        display.note("two\nlines")
        display.step(STEP)  # too early for a line
        clock.now += 20
        display.step(STEP._replace(update=140))
        display.look(LOOK)

    assert stream.getvalue().splitlines() == [
        "two lines",
        "update 140/400  loss 2.346  50 tokens/s  4:20 left  learning rate 5.0e-04",
        "update 100  dev  nats per token l2r 0.520, mid 0.610  exact titles 43 %"
        "  title: Velbako to open",
    ]


def test_a_look_at_averaged_weights_says_so():
    stream = io.StringIO()
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    display = LiveDisplay(terminal, Clock())

    PlainDisplay(stream, Clock()).look(LOOK._replace(averaged=3))
    display.look(LOOK._replace(averaged=3))
    terminal.print(display.picture())

    assert stream.getvalue().startswith("update 100  dev, mean weights of 3 checkpoints  nats per")
    assert "dev after 100, mean weights of 3 checkpoints  nats per" in terminal.export_text()


def test_the_last_update_always_gets_a_line():
    stream = io.StringIO()

    PlainDisplay(stream, Clock()).step(STEP._replace(update=400))

    assert stream.getvalue().startswith("update 400/400  loss 2.346  … tokens/s  … left")


def test_a_time_limit_shortens_the_time_left():
    stream = io.StringIO()
    clock = Clock()
    display = PlainDisplay(stream, clock)

    display.step(STEP)
    clock.now += 20
    display.step(STEP._replace(update=121, seconds_left=61.0))  # else 279 updates of 20 s: 1:33:00

    assert "  1:01 left" in stream.getvalue()
    clock.now += 20
    display.step(STEP._replace(update=122))
    assert "  1:32:40 left" in stream.getvalue()


def test_a_terminal_shows_the_latest_of_everything():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, record=True)

    terminal.print(filled(LiveDisplay(terminal, Clock())).picture())

    shown = terminal.export_text()
    assert "update 120/400" in shown
    assert "loss 2.346" in shown
    assert "dev after 100  nats per token l2r 0.520, mid 0.610  exact titles 43 %" in shown
    assert "text       Velbako, a bakery [bold]in[/bold] Toro, closes  [31m火." in shown
    assert "its title  Velbako to close" in shown
    assert "written    Velbako to open" in shown


def test_a_long_text_is_cut():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, record=True)
    display = LiveDisplay(terminal, Clock())

    display.look(LOOK._replace(source="word " * 1000))
    terminal.print(display.picture())

    assert len(terminal.export_text()) < 2000


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_the_terminal_gets_its_cursor_back(error):
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, force_terminal=True, width=80))

    try:
        with display:
            display.note("begun")
            filled(display)
            if error:
                raise error
    except (KeyboardInterrupt, ValueError) as raised:
        assert type(raised) is error  # and it was not swallowed

    written = stream.getvalue()
    assert HIDE_CURSOR in written
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)
    assert "begun" in written


def test_the_stream_decides(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert isinstance(make_display(io.StringIO()), PlainDisplay)
    assert isinstance(make_display(Terminal()), LiveDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_display(Terminal()), PlainDisplay)


def test_silence_is_silent(capsys):
    with filled(Silence()) as display:
        display.note("nothing")

    assert capsys.readouterr() == ("", "")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def filled(display):
    display.step(STEP)
    display.look(LOOK)
    return display
