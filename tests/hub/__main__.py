"""Serves the stand-in until Ctrl+C, to try the studio against it: `python -m tests.hub`."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import threading
from pathlib import Path

from tests.hub.repositories import REPOSITORIES
from tests.hub.server import OWNER, STRANGER, StandInHub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--root", type=Path, help="where to build the repositories; a temporary folder if left out")
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stand-in-hub-") as temporary:
        root = arguments.root or Path(temporary, "repositories")
        with StandInHub(root, REPOSITORIES, port=arguments.port) as hub:
            write_line(f"Building in {root} ...")
            hub.build(*REPOSITORIES)
            write_line(introduction(hub, root.absolute().parent / "home"))
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                write_line("")


def introduction(hub: StandInHub, home: Path) -> str:
    variables = [f"export {name}={shlex.quote(value)}" for name, value in hub.environment(home).items()]
    width = max(map(len, REPOSITORIES))
    table = [f"{name:{width}}  {repository.about}" for name, repository in REPOSITORIES.items()]
    tokens = f"Token of the owner: {OWNER}. Of a user who may read neither: {STRANGER}."
    return "\n".join(["", *variables, "", *table, f"{'studio/missing':{width}}  does not exist", "", tokens, hub.url])


def write_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
