"""The paths of the server: from the body of a request to its answer.

    POST /generate      texts → titles                       JSON
    POST /stream        a text → its title while it grows    server-sent events
    GET  /health        ready (200) or not (503)
    GET  /metrics       for Prometheus
    GET  /openapi.json  and /docs: how to ask
    GET  /              a page for people

A page that a browser loads from elsewhere cannot use a server on this machine: a body must be
called application/json, which other pages may not send without being allowed to, and no answer
allows it; and a server on the loopback answers to its own names only, so that no other name can
lead to it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kooler.seq2seq.serve.limits import Limits, Refusal
from kooler.seq2seq.serve.metrics import Metrics
from kooler.seq2seq.serve.openapi import documentation, openapi
from kooler.seq2seq.serve.page import page_html
from kooler.seq2seq.serve.query import Offer, parse
from kooler.seq2seq.serve.worker import TOO_LATE, Job, Worker
from kooler.seq2seq.writer import Title

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def make_app(
    worker: Worker, offer: Offer, metrics: Metrics, hosts: Sequence[str] | None = LOOPBACK
) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        worker: Writes the titles; started and stopped by the caller.
        offer: What can be asked for.
        metrics: Get what is counted.
        hosts: The names under which it answers; None for every name.
    """
    description = openapi(offer)
    page, policy = page_html(offer)
    documents = documentation(description)
    routes = [
        _route("/generate", partial(_generate, worker, offer), "POST"),
        _route("/stream", partial(_stream, worker, offer), "POST"),
        _route("/health", partial(_health, worker)),
        _route("/metrics", partial(_metrics, metrics)),
        _route("/openapi.json", partial(_constant, JSONResponse(description))),
        _route("/docs", partial(_constant, HTMLResponse(documents))),
        _route("/", partial(_constant, HTMLResponse(page, headers=policy))),
    ]
    handlers = {Refusal: _refused, HTTPException: _not_found, Exception: _broken}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return Watched(app, metrics, {route.path for route in routes}, hosts)


class Watched:
    """Counts and times every answer, gives it its headers, and refuses foreign names.

    Args:
        app: The application.
        metrics: Get the counts.
        paths: Those that are counted by name.
        hosts: The names under which it answers; None for every name.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, paths: set[str], hosts: Sequence[str] | None
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.paths = paths
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, path = time.monotonic(), scope["path"]
        path = path if path in self.paths else "other"

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
                self.metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        app = self.app if self._is_ours(scope) else _error(400, _FOREIGN)
        await app(scope, receive, watched)
        self.metrics.seconds.labels(path).observe(time.monotonic() - started)

    def _is_ours(self, scope: Scope) -> bool:
        if self.hosts is None:
            return True
        name = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        return name.removesuffix(":" + name.rpartition(":")[2]) in self.hosts or name in self.hosts


_FOREIGN = "this server answers to 127.0.0.1 and localhost; --host opens it to other names."


def _route(
    path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str = "GET"
) -> Route:
    return Route(path, endpoint, methods=[method])


async def _constant(response: Response, request: Request) -> Response:
    return response


async def _health(worker: Worker, request: Request) -> Response:
    ready = worker.state == "ready"
    headers = {} if ready else {"Retry-After": "5"}
    return JSONResponse({"status": worker.state}, 200 if ready else 503, headers=headers)


async def _metrics(metrics: Metrics, request: Request) -> Response:
    content, media_type = metrics.page()
    return Response(content, media_type=media_type)


async def _generate(worker: Worker, offer: Offer, request: Request) -> Response:
    query = parse(await _body(request, offer.limits), offer)
    jobs = worker.submit(query, _deadline(offer.limits))
    try:
        async with asyncio.timeout(offer.limits.seconds):
            answers = [await asyncio.wrap_future(job.future) for job in jobs]
    except (TimeoutError, asyncio.CancelledError):
        raise Refusal(504, TOO_LATE) from None
    finally:
        for job in jobs:
            job.give_up()
    worker.metrics.titles.inc(len(jobs))
    results = [
        _result(worker, job, titles[: query.n_best])
        for job, titles in zip(jobs, answers, strict=True)
    ]
    return JSONResponse({"results": results})


async def _stream(worker: Worker, offer: Offer, request: Request) -> Response:
    query = parse(await _body(request, offer.limits), offer, streamed=True)
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(step: dict[str, Any] | None) -> None:
        loop.call_soon_threadsafe(lambda: events.put_nowait(step))

    deadline = _deadline(offer.limits)
    (job,) = worker.submit(query, deadline, tell)
    job.future.add_done_callback(lambda future: tell(None))
    first = await _event(events, job)  # what fails before the first step gets a status
    if first is None and (error := _failure(job)):
        raise error
    return StreamingResponse(
        _events(worker, events, job, first, query.n_best), media_type="text/event-stream"
    )


async def _event(events: "asyncio.Queue[Any]", job: Job) -> dict[str, Any] | None:
    """The next step, or None when there is none any more."""
    try:
        async with asyncio.timeout(max(job.deadline - time.monotonic(), 0.0)):
            return await events.get()
    except TimeoutError:
        job.give_up()
        return None


async def _events(
    worker: Worker,
    events: "asyncio.Queue[Any]",
    job: Job,
    step: dict[str, Any] | None,
    n_best: int,
) -> AsyncIterator[str]:
    """The steps and the titles as server-sent events; whoever hangs up ends the search."""
    try:
        while step is not None:
            yield _as_event("step", step)
            step = await _event(events, job)
        if error := _failure(job):
            yield _as_event("error", {"error": error.message})
            return
        worker.metrics.titles.inc()
        yield _as_event("titles", _result(worker, job, job.future.result()[:n_best]))
    finally:
        job.give_up()


def _failure(job: Job) -> Refusal | None:
    """Why there are no titles, if there are none."""
    if job.future.cancelled() or not job.future.done():
        return Refusal(504, TOO_LATE)
    error = job.future.exception()
    if error is None or isinstance(error, Refusal):
        return error
    return Refusal(500, _MISTAKE)


def _as_event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _result(worker: Worker, job: Job, titles: Sequence[Title]) -> dict[str, Any]:
    shown = [{"text": title.text, **title.facts()} for title in titles]
    return {"titles": shown, "cut": worker.writer.is_cut(job.text)}


def _deadline(limits: Limits) -> float:
    return time.monotonic() + limits.seconds


async def _body(request: Request, limits: Limits) -> bytes:
    """The body, if it is JSON by its name, small enough, and comes in time."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refusal(415, "send the header `content-type: application/json`.")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limits.body_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                body += part
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise Refusal(408, "the body did not come in time.") from None
    return bytes(body)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body must have at most {limits.body_bytes:,} bytes.")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _error(error.status, error.message, error.field, error.retry_after)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}; /docs tells what there is."
    response = _error(error.status_code, message)
    response.headers.update(error.headers or {})
    return response


async def _broken(request: Request, error: Exception) -> Response:
    return _error(500, _MISTAKE)


_MISTAKE = "the server made a mistake; its log says more."


def _error(
    status: int, message: str, field: str | None = None, retry_after: int | None = None
) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": message, "field": field}, status, headers=headers)
