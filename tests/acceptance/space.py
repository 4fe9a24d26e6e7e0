"""What is around a studio on a Space: TLS before it, and a page of the Hub that shows it inside."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, BaseServer, TCPServer, ThreadingTCPServer
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HUB, SPACE = "huggingface.co", "alice-studio.hf.space"


class HubPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = f'<!doctype html><title>Space</title><iframe src="https://{SPACE}/" width="1200" height="800"></iframe>'
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *args: Any) -> None:
        """Nobody reads it."""


def forwarding(port: int) -> type[BaseRequestHandler]:
    """Everything goes on to a port of this machine, without TLS."""

    class Forwarding(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as behind:
                answers = Thread(target=pump, args=(behind, self.request))
                answers.start()
                pump(self.request, behind)
                answers.join()

    return Forwarding


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(2**16):
            target.sendall(content)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Quiet(ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser opens connections that it does not use."""


class QuietHttp(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser opens connections that it does not use."""


@contextmanager
def around(port: int, folder: Path) -> Iterator[str]:
    """Where a browser finds the Hub and the Space, in the words of Chromium's `--host-resolver-rules`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder))
    before, hub = Quiet(("127.0.0.1", 0), forwarding(port)), QuietHttp(("127.0.0.1", 0), HubPage)
    with served(before, context) as space_port, served(hub, context) as hub_port:
        yield f"MAP {SPACE} 127.0.0.1:{space_port}, MAP {HUB} 127.0.0.1:{hub_port}"


@contextmanager
def served(server: TCPServer, context: ssl.SSLContext) -> Iterator[int]:
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=BaseServer.serve_forever, args=(server, 0.02))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path) -> Path:
    """One that nobody vouches for, with its key."""
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
