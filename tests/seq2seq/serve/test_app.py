"""The server as its clients see it: answers, refusals, events, and what becomes of too many."""

import concurrent.futures
import contextlib
import json
import re
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from kooler.seq2seq.serve.app import make_app
from kooler.seq2seq.serve.limits import Limits
from kooler.seq2seq.serve.metrics import Metrics
from kooler.seq2seq.serve.query import offer_of
from kooler.seq2seq.serve.worker import Worker
from tests.seq2seq.serve.fakes import BROKEN, FakeWriter

LIMITS = Limits(beam_sizes=(2, 1), texts=4, characters=200, body_bytes=2000, gather=0.0)


@contextlib.contextmanager
def serving(writer=None, limits=LIMITS, **options):
    """A client of a server that is ready."""
    writer, metrics, ready = writer or FakeWriter(), Metrics(), threading.Event()
    worker = Worker(writer, limits, metrics, started=ready.set)
    worker.start()
    assert ready.wait(30)
    offer = offer_of(writer.orders, writer.max_length, limits)
    app = make_app(worker, offer, metrics, **options)
    with TestClient(app, "http://localhost:8000", raise_server_exceptions=False) as client:
        client.worker = worker
        yield client
    worker.stop()


@pytest.fixture(scope="module")
def client():
    with serving() as client:
        yield client


def events_of(response):
    """The server-sent events of an answer: names and data."""
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", response.text)
    return [(name, json.loads(data)) for name, data in found]


def numbers_of(client):
    """The metrics without labels, by name."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {s.name: s.value for family in families for s in family.samples if not s.labels}


def test_a_text_becomes_a_title_with_its_log_probability(client):
    answer = client.post("/generate", json={"text": "one", "order": "mid"})

    title = {"text": "ONE", "log_prob": -2.0, "score": -1.0, "order": "mid"}
    assert answer.status_code == 200
    assert answer.json() == {"results": [{"titles": [title], "cut": False}]}


def test_several_texts_keep_their_order_and_say_what_was_cut(client):
    body = {"texts": ["a", "b" * 101], "n_best": 2}

    first, second = client.post("/generate", json=body).json()["results"]

    assert [title["text"] for title in first["titles"]] == ["A", "A"]
    assert [title["log_prob"] for title in first["titles"]] == [-2.0, -3.0]
    assert (first["cut"], second["cut"]) == (False, True)


def test_no_title_is_null_and_not_an_infinity_that_json_does_not_know():
    class Silent(FakeWriter):
        def _title(self, text, order, rank):
            return (
                super()._title("", "", rank)._replace(score=float("-inf"), log_prob=-float("inf"))
            )

    with serving(Silent()) as client:
        (result,) = client.post("/generate", json={"text": "a"}).json()["results"]

    assert result["titles"] == [{"text": "", "log_prob": None, "score": None, "order": ""}]


def test_a_title_is_streamed_while_it_grows(client):
    answer = client.post("/stream", json={"text": "abc", "order": "l2r", "n_best": 2})

    *steps, (last, result) = events_of(answer)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [name for name, _ in steps] == ["step"] * 3
    assert [data["open"][0]["left"] for _, data in steps] == ["A", "AB", "ABC"]
    assert (last, [title["text"] for title in result["titles"]]) == ("titles", ["ABC", "ABC"])


def test_a_stream_without_steps_has_titles(client):
    ((name, result),) = events_of(client.post("/stream", json={"text": ""}))

    assert (name, result["titles"][0]["text"]) == ("titles", "")


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "message"),
    [
        ("/generate", b"{", {}, 422, "the body is no JSON: "),
        ("/generate", b"{}", {}, 422, "`text` or `texts` is missing."),
        ("/stream", b'{"texts": ["a"]}', {}, 422, 'unknown field "texts"'),
        ("/generate", b"{}", {"content-type": "text/plain"}, 415, "send the header `content-type"),
        ("/generate", b" " * 2001, {}, 413, "the body must have at most 2,000 bytes."),
        ("/generate", [b" " * 999] * 3, {}, 413, "the body must have at most 2,000 bytes."),
        ("/generate", b"{}", {"content-length": "9" * 30}, 413, "the body must have at most 2,000"),
        ("/absent", b"{}", {}, 404, "POST /absent: Not Found; /docs tells what there is."),
        ("/health", b"{}", {}, 405, "POST /health: Method Not Allowed; /docs"),
        ("/generate", b"{}", {"host": "kooler.example"}, 400, "this server answers to 127.0.0."),
        ("/generate", b"{}", {"host": "localhost.evil"}, 400, "this server answers to 127.0.0."),
    ],
    ids=["no json", "no text", "two texts", "form", "huge", "huge parts", "huge by its word",
         "path", "method", "host", "hostile host"],
)  # fmt: skip
def test_a_wrong_request_is_refused_with_a_reason(client, path, content, headers, status, message):
    sent = iter(content) if isinstance(content, list) else content
    answer = client.post(
        path, content=sent, headers={"content-type": "application/json", **headers}
    )

    assert (answer.status_code, answer.json()["error"][: len(message)]) == (status, message)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "[::1]:80"])
def test_its_own_names_are_answered(client, host):
    assert client.get("/health", headers={"host": host}).status_code == 200


def test_other_names_are_answered_where_others_may_come():
    with serving(hosts=None) as client:
        assert client.get("/health", headers={"host": "kooler.example"}).status_code == 200


def test_no_answer_allows_other_pages(client):
    preflight = client.options("/generate", headers={"origin": "https://evil.example"})

    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_a_mistake_of_the_server_is_500_and_the_next_request_is_answered(client, capsys):
    broken = client.post("/generate", json={"text": BROKEN})
    *_, (last, error) = events_of(client.post("/stream", json={"text": BROKEN}))
    whole = client.post("/generate", json={"text": "whole"})

    assert (broken.status_code, last) == (500, "error")
    assert (
        broken.json()["error"] == error["error"] == "the server made a mistake; its log says more."
    )
    assert whole.status_code == 200
    assert "the model broke" in capsys.readouterr().err


def test_what_takes_too_long_is_504():
    limits = Limits(seconds=0.05, gather=0.0)
    with serving(FakeWriter(seconds=0.2), limits) as client:
        slow = client.post("/generate", json={"text": "a"})
        slow_stream = client.post("/stream", json={"text": "a"})

    assert (slow.status_code, slow_stream.status_code) == (504, 504)
    assert slow.json()["error"].startswith("there was no answer in time; the server is busy.")


def test_a_stream_that_takes_too_long_ends_with_an_error():
    with serving(FakeWriter(seconds=0.06), Limits(seconds=0.1, gather=0.0)) as client:
        events = events_of(client.post("/stream", json={"text": "abcdefgh"}))

    assert [name for name, _ in events] == ["step"] * (len(events) - 1) + ["error"]
    assert 1 < len(events) < 5


def test_ten_times_too_many_are_shed_and_the_others_get_their_own_titles():
    limits = Limits(rows=4, queue=8, texts=4, seconds=5.0, gather=0.0)
    count = 10 * (limits.queue + limits.rows)
    with serving(FakeWriter(seconds=0.02), limits) as client:

        def ask(number):
            return number, client.post("/generate", json={"text": f"text {number}"})

        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(ask, range(count)))
        numbers = numbers_of(client)
        after = client.post("/generate", json={"text": "after"})

    statuses = [answer.status_code for _, answer in answers]
    right = [(n, a.json()["results"][0]["titles"][0]["text"]) for n, a in answers if a.is_success]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= limits.queue
    assert right == [(number, f"TEXT {number}") for number, _ in right]
    assert all(int(a.headers["retry-after"]) >= 1 for _, a in answers if a.status_code == 503)
    assert numbers["kooler_texts_total"] == statuses.count(200)
    assert (numbers["kooler_waiting_texts"], after.status_code) == (0, 200)


def test_health_follows_the_worker():
    with serving() as client:
        ready = client.get("/health")
        client.worker.state = "warming up"
        warming = client.get("/health"), client.post("/generate", json={"text": "a"})
        client.worker.state = "ready"

    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert [answer.status_code for answer in warming] == [503, 503]
    assert [answer.headers["retry-after"] for answer in warming] == ["5", "5"]


def test_metrics_count_answers_batches_and_texts():
    with serving() as client:
        client.post("/generate", json={"texts": ["a", "b"]})
        client.post("/nowhere", json={})
        page, numbers = client.get("/metrics").text, numbers_of(client)

    assert 'kooler_requests_total{path="/generate",status="200"} 1.0' in page
    assert 'kooler_requests_total{path="other",status="404"} 1.0' in page
    assert 'kooler_request_seconds_count{path="/generate"} 1.0' in page
    assert numbers["kooler_texts_total"] == numbers["kooler_batch_texts_sum"] == 2
    assert (numbers["kooler_batch_seconds_count"], numbers["kooler_ready"]) == (1, 1)


def test_the_page_loads_nothing_from_elsewhere_and_its_policy_forbids_it(client):
    answer = client.get("/")

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", answer.text)
    assert re.search(r'id="facts">\{"orders": \["l2r", "r2l", "mid", "best"\]', answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_both_languages_of_the_page_have_all_words(client):
    page = client.get("/").text
    english, chinese = (
        set(re.findall(r"(\w+): \"", page.split(f"  {name}: {{")[1].split("\n  },")[0]))
        for name in ("en", "zh")
    )

    assert english == chinese
    assert set(re.findall(r'data-words="(\w+)"', page)) <= english
    assert set(re.findall(r'say\("(\w+)"', page)) <= english
