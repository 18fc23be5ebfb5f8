"""The page in a real Chromium: by keyboard, on a phone, in both languages, in the dark."""

import shutil
import threading

import pytest
import uvicorn

from kooler.seq2seq.serve.app import make_app
from kooler.seq2seq.serve.limits import Limits
from kooler.seq2seq.serve.metrics import Metrics
from kooler.seq2seq.serve.query import offer_of
from kooler.seq2seq.serve.worker import Worker
from tests.seq2seq.serve.fakes import FakeWriter

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium"),
]
PHONE = {"width": 375, "height": 740}


@pytest.fixture(scope="module")
def address():
    """A server in a thread."""
    limits, metrics, ready = Limits(), Metrics(), threading.Event()
    worker = Worker(FakeWriter(seconds=0.01), limits, metrics, started=ready.set)
    worker.start()
    app = make_app(worker, offer_of(FakeWriter.orders, 12, limits), metrics)
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not (running.started and ready.is_set()):
        pass
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/"
    running.should_exit = True
    thread.join()
    worker.stop()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(browser, address):
    """Opens the page; whatever the browser complains about fails the test."""
    complaints, contexts = [], []

    def opened(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_title_is_written_by_keyboard_alone(page):
    page = page(viewport=PHONE, locale="en")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("some text")
    page.keyboard.press("Control+Enter")

    page.wait_for_selector("#stage:not([hidden])")
    page.wait_for_selector("#titles li")

    assert page.inner_text("#titles li:first-child .words") == "SOME TEXT"
    assert page.text_content("#status") == "The title: SOME TEXT"
    assert page.evaluate("document.activeElement.id") == "text"


def test_nothing_is_wider_than_a_phone(page):
    page = page(viewport={"width": 320, "height": 600}, locale="en")
    page.fill("#text", "word" * 200)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#stage:not([hidden])")

    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_escape_stops(page):
    page = page(locale="en")
    page.fill("#text", "a long text, which takes its time")
    page.focus("#text")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#stage:not([hidden])")
    page.keyboard.press("Escape")

    page.wait_for_function("document.getElementById('status').textContent === 'Stopped.'")
    assert page.is_disabled("#stop")


def test_the_language_is_that_of_the_browser_and_can_be_changed_for_good(page):
    page = page(locale="zh-CN")
    chinese = page.inner_text("#write"), page.get_attribute("html", "lang")
    page.click("#language")
    page.reload()

    assert chinese == ("写标题", "zh-CN")
    assert (page.inner_text("#write"), page.get_attribute("html", "lang")) == (
        "Write a title",
        "en",
    )


def test_an_empty_text_is_told(page):
    page = page(locale="en")
    page.click("#write")

    assert page.inner_text("#status") == "Paste a text first."
    assert page.evaluate("document.activeElement.id") == "text"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(page, scheme):
    page = page(color_scheme=scheme, reduced_motion="reduce", locale="en")
    page.fill("#text", "abc")
    page.click("#write")
    page.wait_for_selector("#titles li")

    for selector in ("body", ".about", ".hint", "#write", ".titles .number", "footer", "footer a"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector


CONTRAST = """(selector) => {
  const brightness = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let element = document.querySelector(selector);
  const ink = brightness(getComputedStyle(element).color);
  let ground = "rgba(0, 0, 0, 0)";
  for (; ground === "rgba(0, 0, 0, 0)"; element = element.parentElement) {
    ground = getComputedStyle(element).backgroundColor;
  }
  const [low, high] = [ink, brightness(ground)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""
