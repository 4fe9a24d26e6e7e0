"""The surroundings of a studio on a Space: TLS in front of it, and a page of the Hub that embeds it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from anyio.from_thread import start_blocking_portal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HUB, SPACE = "huggingface.co", "alice-studio.hf.space"
HUB_PAGE = f'<!doctype html><title>Space</title><iframe src="https://{SPACE}/" width="1200" height="800"></iframe>'

Answer = Callable[[StreamReader, StreamWriter], Awaitable[None]]


async def answer_hub_page(reader: StreamReader, writer: StreamWriter) -> None:
    """Answers one request with the page of the Hub, whatever was asked for."""
    await reader.readuntil(b"\r\n\r\n")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(HUB_PAGE)}\r\nConnection: close\r\n\r\n"
    writer.write((head + HUB_PAGE).encode())
    await writer.drain()


def make_forwarding(port: int) -> Answer:
    """Forwards everything to a port of this machine, without TLS."""

    async def forward(reader: StreamReader, writer: StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        directions = [
            asyncio.create_task(pump(reader, upstream_writer)),
            asyncio.create_task(pump(upstream_reader, writer)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            upstream_writer.close()

    return forward


async def pump(source: StreamReader, target: StreamWriter) -> None:
    with suppress(OSError):
        while content := await source.read(2**16):
            target.write(content)
            await target.drain()


def closing(answer: Answer) -> Answer:
    """Closes the connection after the answer. Browsers open connections that they do not use, and cut others."""

    async def answer_and_close(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    return answer_and_close


@contextmanager
def serve_space_and_hub(port: int, folder: Path) -> Iterator[str]:
    """Returns the addresses of Hub and Space for Chromium's `--host-resolver-rules`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(make_forwarding(port), context)) as space_port,
        portal.wrap_async_context_manager(serve(answer_hub_page, context)) as hub_port,
    ):
        yield f"MAP {SPACE} 127.0.0.1:{space_port}, MAP {HUB} 127.0.0.1:{hub_port}"


@asynccontextmanager
async def serve(answer: Answer, context: ssl.SSLContext) -> AsyncIterator[int]:
    async with await asyncio.start_server(closing(answer), "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def certificate(folder: Path) -> Path:
    """Creates a self-signed certificate with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SPACE)])
    names = x509.SubjectAlternativeName([x509.DNSName(SPACE), x509.DNSName(HUB)])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "certificate.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + signed.public_bytes(pem))
    return file
