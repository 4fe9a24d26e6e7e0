"""The Hub, asked what it has: which files make up a model, how large they are, and whether they may come here."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from httpx2 import HTTPError
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from imagegen.errors import HubRefused, UnusableModel
from imagegen.library.adapters import several
from imagegen.library.describing import known_pipeline
from imagegen.library.families import FAMILIES
from imagegen.library.snapshots import HubFiles
from imagegen.library.weights import is_network, named_components

logger = logging.getLogger(__name__)

# Classes from elsewhere would be code that came with the model.
LIBRARIES = ("diffusers", "transformers")
TEXTS = (".json", ".txt", ".model", ".jinja")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
INDEX = "model_index.json"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# Half as large, and as good on every device, since weights are converted when they are loaded.
HALF = "fp16"


@dataclass(frozen=True)
class HubFile:
    """`path` is in the repository, `size` in bytes, `sha256` None for small files that the Hub does not hash so."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Plan:
    """What a download will bring, at one commit."""

    reference: str
    repository: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Hub:
    """Asks with the token of whoever runs the studio, if there is one."""

    def __init__(self) -> None:
        self.api = HfApi()

    def model_plan(self, reference: str, wanted: HubFiles) -> Plan:
        """Raises HubRefused and UnusableModel."""
        commit, files = self._files(reference, wanted)
        if wanted.file is not None:
            return one_file(reference, wanted.repository, commit, files, wanted.file)
        if INDEX not in files:
            ours = [name for name in files if name.endswith(".safetensors") and "/" not in name]
            problem = f"it is no model in diffusers format: it has no {INDEX}"
            raise UnusableModel(
                reference, f"{problem}; {several(whole_names(wanted.repository, ours))}" if ours else problem
            )
        index = self._index(reference, wanted.repository, commit)
        needed = pipeline_files(reference, index, list(files), wanted.variant)
        return Plan(reference, wanted.repository, commit, tuple(files[name] for name in needed))

    def adapter_plan(self, reference: str, wanted: HubFiles, kind: str) -> Plan:
        """Raises HubRefused and UnusableModel."""
        commit, files = self._files(reference, wanted)
        tensors = [name for name in files if name.endswith(".safetensors")]
        if wanted.file is None and INDEX in files:
            raise UnusableModel(reference, "it is a model", kind)
        if wanted.file is None and not tensors:
            raise UnusableModel(reference, "it holds no safetensors, and pickles are never loaded", kind)
        if wanted.file is None and len(tensors) > 1:
            raise UnusableModel(reference, several(whole_names(wanted.repository, tensors)), kind)
        return one_file(reference, wanted.repository, commit, files, wanted.file or tensors[0], kind)

    def _files(self, reference: str, wanted: HubFiles) -> tuple[str, dict[str, HubFile]]:
        """The commit that is meant, and each file there by its path."""
        with told(reference):
            found = self.api.model_info(wanted.repository, revision=wanted.revision, files_metadata=True)
        assert found.sha is not None
        return found.sha, {file.rfilename: hub_file(file) for file in found.siblings or []}

    def _index(self, reference: str, repository: str, commit: str) -> dict[str, object]:
        with told(reference), TemporaryDirectory() as folder:
            file = hf_hub_download(repository, INDEX, revision=commit, local_dir=folder)
            try:
                index = json.loads(Path(file).read_bytes())
            except ValueError:
                index = None
        if not isinstance(index, dict):
            raise UnusableModel(reference, f"its {INDEX} cannot be read")
        return index


def whole_names(repository: str, files: list[str]) -> list[str]:
    return [f"{repository}/{file}" for file in files]


def hub_file(file: RepoSibling) -> HubFile:
    return HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)


def one_file(
    reference: str, repository: str, commit: str, files: dict[str, HubFile], path: str, kind: str = "model"
) -> Plan:
    if path not in files:
        raise UnusableModel(reference, f"the repository has no file {path}", kind)
    return Plan(reference, repository, commit, (files[path],))


def pipeline_files(reference: str, index: dict[str, object], files: list[str], variant: str | None) -> list[str]:
    """The files of a repository that make up its pipeline. Raises UnusableModel when one of its parts is not for us."""
    denoiser = FAMILIES[known_pipeline(index.get("_class_name"), reference)].denoiser
    half = any(file.startswith(f"{denoiser}/") and re.search(rf"\.{HALF}[.-]", file) for file in files)
    variant = variant or (HALF if half else None)
    needed = [INDEX]
    for component, (library, name) in named_components(index).items():
        if library not in LIBRARIES:
            raise UnusableModel(reference, f"its part {component} is {library}.{name}, which would be code of its own")
        here = [file for file in files if str(PurePosixPath(file).parent) == component]
        needed += [file for file in here if file.endswith(TEXTS) and ".index." not in file]
        if is_network(name):
            needed += weights(reference, component, here, variant)
    return needed


def weights(reference: str, component: str, here: list[str], variant: str | None) -> list[str]:
    """One whole set of weights: the variant where there is one, else the plain one, else the only one."""
    tensors = [file for file in here if file.endswith(".safetensors")]
    if not tensors:
        pickles = [file for file in here if file.endswith(PICKLES)]
        problem = "has its weights in pickles alone, which may run code" if pickles else "has no weights"
        raise UnusableModel(reference, f"its part {component} {problem}; only safetensors are loaded")
    chosen = [file for file in tensors if variant and re.search(rf"\.{re.escape(variant)}[.-]", file)]
    if chosen:
        return [*chosen, *(file for file in here if ".index." in file and f".{variant}." in file)]
    plain = [file for file in tensors if is_plain(file)]
    return [*(plain or tensors), *(file for file in here if file.endswith(".safetensors.index.json"))]


def is_plain(file: str) -> bool:
    """`name.safetensors` or `name-00001-of-00002.safetensors`, not `name.variant.safetensors`."""
    return PurePosixPath(file).name.count(".") == 1


@contextmanager
def told(reference: str) -> Iterator[None]:
    """Turns what the Hub's client raises into one sentence for whoever asked. Raises HubRefused."""
    try:
        yield
    except GatedRepoError:
        problem = "its terms must be accepted on its page first, by the account whose HF_TOKEN the studio has"
        raise HubRefused(reference, problem) from None
    except RevisionNotFoundError:
        raise HubRefused(reference, "the pinned revision is not there any more") from None
    except RepositoryNotFoundError:
        problem = "there is no such repository, or it is private to others than the account of HF_TOKEN"
        raise HubRefused(reference, problem) from None
    except EntryNotFoundError:
        raise HubRefused(reference, "one of its files is not there any more") from None
    except HFValidationError:
        raise HubRefused(reference, "that is no name of a repository") from None
    except OfflineModeIsEnabled:
        raise HubRefused(reference, "the studio was told to stay offline, by HF_HUB_OFFLINE") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        logger.warning("The Hub answered an error", exc_info=error, extra={"action": "hub_error"})
        problem = "HF_TOKEN is not valid" if status == 401 else f"the Hub answered {status}; please try again"
        raise HubRefused(reference, problem) from None
    except (OSError, HTTPError) as error:
        number = getattr(error, "errno", None)
        if isinstance(number, int) and number in UNWRITABLE:
            raise HubRefused(reference, f"it cannot be written here: {os.strerror(number)}") from None
        logger.warning("The Hub could not be reached", exc_info=error, extra={"action": "hub_unreachable"})
        raise HubRefused(reference, "the connection failed; what came so far is kept. Please try again") from None
