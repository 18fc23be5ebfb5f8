"""The process of the server: its address, its start, its signals, its end.

It listens at once and says 503 until the warm-up is done.  After SIGINT or SIGTERM it takes no new
connection, answers what it has accepted, and ends; a second signal ends it at once.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn

from kooler.seq2seq.interruption import terminable
from kooler.seq2seq.serve.app import LOOPBACK, make_app
from kooler.seq2seq.serve.limits import Limits
from kooler.seq2seq.serve.metrics import Metrics
from kooler.seq2seq.serve.query import offer_of
from kooler.seq2seq.serve.shapes import ShapedWriter
from kooler.seq2seq.serve.worker import Worker
from kooler.seq2seq.writer import Writer

GRACE = 5.0  # seconds beyond the time of a request that answers may take after a signal


def serve(
    run: Path,
    host: str,
    port: int,
    limits: Limits,
    tell: Callable[[str], None],
    rank_by: str = "score",
) -> BaseException | None:
    """Serves the model of a run until a signal comes.

    Args:
        run: The run directory; nothing of it is executed.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        limits: Of the server.
        tell: Gets sentences about the address, the start and the end.
        rank_by: Which titles of a text come first, as `generate` takes it.

    Returns:
        What broke the warm-up, None after a signal.

    Raises:
        ValueError: For a host or port that cannot be listened on.
    """
    with _listener(host, port) as listener:
        return _served(listener, run, host, limits, tell, rank_by)


def _served(
    listener: socket.socket,
    run: Path,
    host: str,
    limits: Limits,
    tell: Callable[[str], None],
    rank_by: str,
) -> BaseException | None:
    """The same, where the address is taken."""
    address = _address(host, listener)
    started = time.monotonic()
    writer = ShapedWriter(Writer.load(run), limits.rows, limits.beam_sizes, rank_by)
    metrics = Metrics()
    server = _server(limits)
    worker = Worker(
        writer,
        limits,
        metrics,
        started=lambda: tell(f"ready after {time.monotonic() - started:.1f} s."),
        failed=server.stop,
    )
    offer = offer_of(writer.orders, writer.max_length, limits)
    hosts = LOOPBACK if is_loopback(host) else None
    server.config.app = make_app(worker, offer, metrics, hosts)
    tell(f"listening on {address}, warming up …")
    if hosts is None:
        tell("whoever reaches this address can use the server; there is no password.")
    worker.start()
    try:
        with terminable():
            server.run([listener])
    except (KeyboardInterrupt, SystemExit):
        pass  # uvicorn ends as the signal would have, once everything is answered
    finally:
        worker.stop()
    tell("stopped.")
    return worker.error


class _Server(uvicorn.Server):
    """A server that its own worker can stop."""

    def stop(self) -> None:
        self.should_exit = True


def _server(limits: Limits) -> _Server:
    return _Server(
        uvicorn.Config(
            _no_app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=int(limits.seconds + GRACE),
        )
    )


async def _no_app(*arguments: object) -> None:
    """Stands in until there is an application."""
    await asyncio.sleep(0)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listener(host: str, port: int) -> socket.socket:
    """Listens, so that a port that is taken is told before a model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ValueError(
            f"cannot listen on {host}, port {port} ({getattr(error, 'strerror', None) or error}). "
            "Choose another --port; 0 takes a free one."
        ) from None
    return listener


def _address(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
