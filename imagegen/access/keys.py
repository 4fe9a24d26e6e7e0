"""The studio's own keys, for machines without a network. The file has their digests, not the keys.

python -m imagegen.access.keys add alice            prints a new key
python -m imagegen.access.keys add bob --days 30    prints a key that expires
python -m imagegen.access.keys add me --administrator
python -m imagegen.access.keys remove alice
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imagegen.access.identity import Identity
from imagegen.errors import BadCredentials, InvalidKeysFile, SignInUnavailable
from imagegen.schema.base import FrozenModel
from imagegen.settings import Settings
from imagegen.text import describe_first_problem

logger = logging.getLogger(__name__)

# Keys are long and random, so that a fast hash protects them as well as a slow one.
KEY_BYTES = 32
# How long the last keys stay valid while the file is away, such as while an editor or a mount replaces it.
KEPT_SECONDS = 10.0
SECONDS_PER_DAY = 24 * 3600
MAX_DAYS = 36_500


class AccessKey(FrozenModel):
    """An entry of the keys file. `sha256` is the digest of the key in hexadecimal digits.

    `expires` is in seconds since 1970; without it, the key does not expire.
    """

    name: str
    sha256: str
    is_administrator: bool = False
    expires: float | None = None

    def is_valid(self) -> bool:
        """Returns whether the key has not expired."""
        return self.expires is None or time.time() < self.expires


KEYS_ADAPTER = TypeAdapter(list[AccessKey])


class KeyStore:
    """The keys in a file. The file may change while the studio runs."""

    token_hint = "a key of this studio"  # noqa: S105
    cache_seconds = 0.0
    is_remote = False

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.file, self._clock = file, clock
        self._cached: tuple[object, list[AccessKey]] = (None, [])
        self._lost_at: float | None = None

    async def identify(self, token: str) -> Identity:
        """Returns the owner of a key. Raises BadCredentials, and SignInUnavailable if the file cannot be read."""
        digest = hash_key(token)
        for key in self.list_keys():
            if secrets.compare_digest(key.sha256, digest) and key.is_valid():
                return Identity(key.name, is_administrator=key.is_administrator, key_digest=digest)
        raise BadCredentials(what=self.token_hint)

    def is_still_valid(self, identity: Identity) -> bool:
        """Returns whether the key of a session still exists with the same rights and has not expired.

        Raises SignInUnavailable if the file cannot be read.
        """
        owner = identity.name, identity.key_digest, identity.is_administrator
        return any((key.name, key.sha256, key.is_administrator) == owner and key.is_valid() for key in self.list_keys())

    def list_keys(self) -> list[AccessKey]:
        """Returns all entries, expired ones too; none if there is no file.

        If the file is gone or cannot be read, the last entries stay valid for KEPT_SECONDS. Then raises
        SignInUnavailable for a file that cannot be read.
        """
        try:
            keys = self.read_keys()
        except (InvalidKeysFile, FileNotFoundError) as error:
            return self._keep_last_keys(error)
        self._lost_at = None
        return keys

    def read_keys(self) -> list[AccessKey]:
        """Returns all entries. The file is read again only when it has changed.

        Raises InvalidKeysFile, and FileNotFoundError if there is no file.
        """
        try:
            status = self.file.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._cached[0]:
                self._cached = (stamp, KEYS_ADAPTER.validate_json(self.file.read_bytes()))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InvalidKeysFile(self.file, error.strerror or "it cannot be read") from error
        except ValidationError as error:
            raise InvalidKeysFile(self.file, describe_first_problem(error)) from None
        return self._cached[1]

    def check(self) -> None:
        """Raises InvalidKeysFile. A file that does not exist yet is no error."""
        with suppress(FileNotFoundError):
            self.read_keys()

    def _keep_last_keys(self, error: Exception) -> list[AccessKey]:
        if self._lost_at is None:
            self._lost_at = self._clock()
            if self._cached[0] is not None:
                logger.warning("The keys file cannot be read: %s", error, extra={"action": "keys_lost"})
        if self._cached[0] is not None and self._clock() < self._lost_at + KEPT_SECONDS:
            return self._cached[1]
        if isinstance(error, FileNotFoundError):
            return []
        raise SignInUnavailable from error

    def add(self, name: str, is_administrator: bool = False, days: float | None = None) -> str:
        """Adds a key and returns it; it cannot be read later. Replaces an earlier key of the same name.

        With `days`, it expires after as many days. Raises InvalidKeysFile and OSError.
        """
        key = f"studio_{secrets.token_urlsafe(KEY_BYTES)}"
        expires = time.time() + days * SECONDS_PER_DAY if days is not None else None
        entry = AccessKey(name=name, sha256=hash_key(key), is_administrator=is_administrator, expires=expires)
        others = [other for other in self._read_existing_keys() if other.name != name]
        self._write([*others, entry])
        return key

    def _read_existing_keys(self) -> list[AccessKey]:
        return self.read_keys() if self.file.exists() else []

    def remove(self, name: str) -> bool:
        """Removes the key of that name. Returns whether there was one."""
        keys = self._read_existing_keys()
        self._write([key for key in keys if key.name != name])
        return name in {key.name for key in keys}

    def _write(self, keys: list[AccessKey]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump([key.model_dump(exclude_none=True) for key in keys], file, indent=2)
        partial.replace(self.file)


def hash_key(key: str) -> str:
    """Returns the SHA-256 of a key in hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def get_keys_path(settings: Settings) -> Path:
    """Returns the path of the keys file that the settings name."""
    return settings.keys_file or settings.data_dir / "keys.json"


def parse_days(text: str) -> float:
    """Returns a positive number of days. Raises ArgumentTypeError."""
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be a number of days, more than 0 and at most {MAX_DAYS}")
    return days


def describe_key(key: AccessKey) -> str:
    """Returns the name of the key's owner, their rights, and when the key expires."""
    expires = "" if key.expires is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(key.expires))
    state = f"{'expires' if key.is_valid() else 'expired'} {expires}" if expires else ""
    notes = [note for note in ("administrator" if key.is_administrator else "", state) if note]
    return f"{key.name} ({', '.join(notes)})" if notes else key.name


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m imagegen.access.keys", description="Adds, removes and lists keys of this studio."
    )
    parser.add_argument("action", choices=["add", "remove", "list"])
    parser.add_argument("name", nargs="?", help="the name of the key's owner")
    parser.add_argument(
        "--administrator", action="store_true", help="may download and delete models, and export and purge users"
    )
    parser.add_argument("--days", type=parse_days, help="after how many days the key expires; by default never")
    parser.add_argument("--file", type=Path, help="the keys file; by default the one in the studio's settings")
    arguments = parser.parse_args()
    if arguments.action != "list" and arguments.name is None:
        parser.error("a name is required")
    keys = KeyStore(arguments.file or get_keys_path(Settings()))
    try:
        sys.stdout.write(f"{run_action(keys, arguments)}\n")
    except (OSError, InvalidKeysFile) as error:
        sys.exit(str(error))


def run_action(keys: KeyStore, arguments: argparse.Namespace) -> str:
    """Returns what to print. Raises InvalidKeysFile and OSError."""
    match arguments.action:
        case "list":
            return "\n".join(describe_key(key) for key in keys.read_keys()) if keys.file.exists() else ""
        case "add":
            return keys.add(arguments.name, arguments.administrator, arguments.days)
        case _ if keys.remove(arguments.name):
            return f"The key of {arguments.name} was removed."
    sys.exit(f"{arguments.name} has no key.")


if __name__ == "__main__":
    main()
