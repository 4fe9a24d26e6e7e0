"""SHA-256 checksums of weight files. Each file is read once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from imagegen.library.families import get_family
from imagegen.library.shards import list_parts
from imagegen.library.weight_files import compute_sha256
from imagegen.schema.models import ModelSource

logger = logging.getLogger(__name__)

# Size in bytes, time of the last change in nanoseconds, and SHA-256 in hexadecimal digits.
Entry = tuple[int, int, str]


class Checksums:
    """Computes checksums and keeps them in a JSON file, so that a restart reads no weights again.

    An entry is valid while the size and the time of the last change of its file are the same. Without `file`, the
    checksums are kept in memory only. The methods may be called from any thread.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._entries = load_entries(file) if file is not None else {}
        self._entries_lock, self._path_locks = Lock(), defaultdict[str, Lock](Lock)

    def find(self, path: Path) -> str | None:
        """Returns the SHA-256 of a file in hexadecimal digits, or None if only reading the file could tell.

        Raises OSError if there is no such file.
        """
        status = path.stat()
        size, modified, sha256 = self._entries.get(str(path.absolute()), (None, None, None))
        return sha256 if (size, modified) == (status.st_size, status.st_mtime_ns) else None

    def compute(self, path: Path) -> str:
        """Returns the SHA-256 of a file in hexadecimal digits; reads the whole file if it is not known.

        Raises OSError if the file cannot be read.
        """
        with self._path_locks[str(path.absolute())]:
            sha256 = self.find(path)
            if sha256 is None:
                sha256 = compute_sha256(path)
                self.record(path, sha256)
        return sha256

    def compute_weights(self, path: Path) -> str:
        """Returns the SHA-256 of a file of weights; of an index, that of the checksums of its files, as for a model.

        Raises OSError and ValueError.
        """
        return combine([self.compute(file) for file in list_parts(path)])

    def record(self, path: Path, sha256: str) -> None:
        """Stores the SHA-256 of a file that was read already."""
        status = path.stat()
        with self._entries_lock:
            self._entries[str(path.absolute())] = status.st_size, status.st_mtime_ns, sha256
            if self._file is not None:
                self._save(self._file)

    def find_model_sha256(self, source: ModelSource) -> str | None:
        """Returns what `compute_model_sha256` returns, or None if only reading the weights could tell."""
        try:
            found = [self.find(file) for file in list_denoiser_files(source)]
        except OSError:
            return None
        known = [sha256 for sha256 in found if sha256 is not None]
        return combine(known) if known and len(known) == len(found) else None

    def compute_model_sha256(self, source: ModelSource) -> str | None:
        """Returns the SHA-256 of a model's weights, None if they cannot be read. Reads what is not known.

        Of a checkpoint in one file, it is the file's. Of a folder in diffusers format, it is that of the denoiser's
        file; if there are several, that of their checksums, joined in the order of the files' names.
        """
        try:
            files = list_denoiser_files(source)
            return combine([self.compute(file) for file in files]) if files else None
        except OSError:
            return None

    def _save(self, file: Path) -> None:
        partial = file.with_name(f"{file.name}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._entries))
            partial.replace(file)
        except OSError as error:
            logger.warning("Checksums cannot be stored: %s", error, extra={"action": "checksums_not_stored"})


def load_entries(file: Path) -> dict[str, Entry]:
    """Returns the entries in a file; none if there is no such file, or another program wrote it."""
    try:
        entries = {str(path): entry for path, entry in json.loads(file.read_bytes()).items()}
        return {path: (int(size), int(modified), str(sha256)) for path, (size, modified, sha256) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def list_denoiser_files(source: ModelSource) -> list[Path]:
    """Returns the weights of a model's denoiser, in the order of their names: the file, or the shards in its folder.

    Of several variants, such as `fp16`, it returns the one without a name, which is the one that is loaded.
    """
    if not source.path.is_dir():
        return [source.path]
    files = sorted((source.path / get_family(source.pipeline).denoiser).glob("*.safetensors"))
    return [file for file in files if file.name.count(".") == 1] or files


def combine(checksums: Sequence[str]) -> str:
    """Returns the checksum of one file as it is, and of several files the SHA-256 of all."""
    return checksums[0] if len(checksums) == 1 else hashlib.sha256("".join(checksums).encode()).hexdigest()
