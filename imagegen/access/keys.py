"""Keys of the studio's own, for machines without a network. The file has what tells them, not the keys themselves.

python -m imagegen.access.keys add alice            prints a new key
python -m imagegen.access.keys add me --administrator
python -m imagegen.access.keys remove alice
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials
from imagegen.schema import Message
from imagegen.settings import Settings

# They are long and drawn at random: nobody can try them all, so that a fast hash protects them as well as a slow one.
KEY_BYTES = 32


class Key(Message):
    """`sha256` is of the key, in hexadecimal digits."""

    name: str
    sha256: str
    is_administrator: bool = False


class Keys:
    """Those in a file, which may change while the studio runs."""

    tokens = "a key of this studio"
    fresh = 0.0

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read: tuple[object, list[Key]] = (None, [])

    async def identify(self, token: str) -> Identity:
        """Raises BadCredentials."""
        digest = sha256(token)
        for key in self.all():
            if secrets.compare_digest(key.sha256, digest):
                return Identity(key.name, is_administrator=key.is_administrator)
        raise BadCredentials(what=self.tokens)

    def has(self, identity: Identity) -> bool:
        """Sessions end with the key that they began with."""
        return any((key.name, key.is_administrator) == (identity.name, identity.is_administrator) for key in self.all())

    def all(self) -> list[Key]:
        """Read only when the file is another: every request asks."""
        if not self.file.exists():
            return []
        facts = self.file.stat()
        stamp = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if stamp != self._read[0]:
            entries = json.loads(self.file.read_text(encoding="utf-8"))
            self._read = (stamp, [Key.model_validate(entry) for entry in entries])
        return self._read[1]

    def add(self, name: str, is_administrator: bool = False) -> str:
        """A new key, which nobody can read again; one of the same name before it is not valid any more."""
        key = f"studio_{secrets.token_urlsafe(KEY_BYTES)}"
        others = [other for other in self.all() if other.name != name]
        self._write([*others, Key(name=name, sha256=sha256(key), is_administrator=is_administrator)])
        return key

    def remove(self, name: str) -> bool:
        """Whether there was one."""
        keys = self.all()
        self._write([key for key in keys if key.name != name])
        return name in {key.name for key in keys}

    def _write(self, keys: list[Key]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump([key.model_dump() for key in keys], file, indent=2)
        partial.replace(self.file)


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def keys_file(settings: Settings) -> Path:
    return settings.keys_file or settings.data_dir / "keys.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m imagegen.access.keys", description="Keys of this studio.")
    parser.add_argument("deed", choices=["add", "remove", "list"])
    parser.add_argument("name", nargs="?", help="whose key it is")
    parser.add_argument("--administrator", action="store_true", help="may download and delete models")
    parser.add_argument("--file", type=Path, help="where the keys are; else what the studio's settings say")
    arguments = parser.parse_args()
    keys = Keys(arguments.file or keys_file(Settings()))
    if arguments.deed == "list":
        said = "\n".join(f"{key.name}{' (administrator)' if key.is_administrator else ''}" for key in keys.all())
    elif arguments.name is None:
        parser.error("whose key?")
    elif arguments.deed == "add":
        said = keys.add(arguments.name, arguments.administrator)
    elif not keys.remove(arguments.name):
        sys.exit(f"There is no key of {arguments.name}.")
    else:
        said = f"The key of {arguments.name} is not valid any more."
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
