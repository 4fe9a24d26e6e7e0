"""nginx in front of a studio, in set-ups that are common."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.conftest import ROOT, free_port
from tests.acceptance.space_proxy import certificate

NGINX = "/usr/sbin/nginx"
# In each configuration, LISTEN stands for the port, STUDIO for the host and port of the studio.
SERVERS = {
    "port dropped": """
        server { listen LISTEN; location / { proxy_pass http://STUDIO; proxy_set_header Host $host; } }
    """,
    "host and port": """
        server { listen LISTEN; location / { proxy_pass http://STUDIO; proxy_set_header Host $http_host; } }
    """,
    "bare": """
        server { listen LISTEN; location / { proxy_pass http://STUDIO; } }
    """,
    "bare with TLS": """
        server {
            listen LISTEN ssl; ssl_certificate PEM; ssl_certificate_key PEM;
            location / { proxy_pass http://STUDIO; }
        }
    """,
    "no host": """
        server { listen LISTEN; location / { proxy_pass http://STUDIO; proxy_set_header Host ""; } }
    """,
    "path": """
        server { listen LISTEN; location /studio/ { proxy_pass http://STUDIO/; proxy_set_header Host $http_host; } }
    """,
    "unknown path": """
        server { listen LISTEN; location /elsewhere/ { proxy_pass http://STUDIO/; } }
    """,
    "another site": """
        server { listen LISTEN; location / { default_type text/html; return 200 "<!doctype html>"; } }
    """,
}


def read_documented_server() -> str:
    """Returns the configuration of docs/proxies.md, with the words of SERVERS."""
    document = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
    text = document.split("```nginx\n")[1].split("```")[0]
    for documented, word in (
        ("443 ssl", "LISTEN ssl"), ("/etc/ssl/studio.pem", "PEM"), ("/etc/ssl/studio.key", "PEM"),
        ("127.0.0.1:7860", "STUDIO"),
    ):  # fmt: skip
        assert documented in text
        text = text.replace(documented, word)
    return text


@contextmanager
def run_nginx(folder: Path, studio: str, ports: Mapping[str, int]) -> Iterator[None]:
    """Serves each of `ports`, by the name of its server, until the end. `studio` is the studio's host and port."""
    pem = certificate(folder)
    servers = SERVERS | {"documented": read_documented_server()}
    blocks = "\n".join(
        servers[name].replace("LISTEN", f"127.0.0.1:{port}").replace("PEM", str(pem)).replace("STUDIO", studio)
        for name, port in ports.items()
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off;\n{temporary}{blocks}\n}}\n"
    )
    log = folder / "nginx.log"
    with log.open("wb") as output, subprocess.Popen([NGINX, "-c", configuration], stderr=output) as process:
        try:
            for port in ports.values():
                wait_until_listening(port, process, log)
            yield
        finally:
            process.terminate()


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nginx does not listen on {port}:\n{log.read_text()}")


def choose_ports() -> dict[str, int]:
    """Returns a free port for each server."""
    return {name: free_port() for name in (*SERVERS, "documented")}
