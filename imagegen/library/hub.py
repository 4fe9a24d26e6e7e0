"""The Hugging Face Hub: which files make up a model, their sizes, and whether they may be downloaded."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from httpx2 import HTTPError
from huggingface_hub import HfApi, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)
from huggingface_hub.hf_api import RepoSibling

from imagegen.errors import HubRequestFailed, UnusableModel
from imagegen.library.families import get_family
from imagegen.library.file_index import describe_choice
from imagegen.library.ip_adapter_architectures import IpAdapterFacts, UnknownIpAdapter, detect_ip_adapter
from imagegen.library.ip_adapters import describe_missing_encoder, fits_encoder, sort_by_distance
from imagegen.library.model_info import check_components, check_pipeline_class
from imagegen.library.network_index import CONFIG_FILE, PROCESSOR_FILE, choose_weights
from imagegen.library.peft_config import CONFIG_FILE as PEFT_CONFIG_FILE
from imagegen.library.shards import find_weights, is_index, is_shard, parse_weight_map
from imagegen.library.snapshots import HubFiles
from imagegen.library.weight_files import SafetensorsHeader, has_weights, parse_components

logger = logging.getLogger(__name__)

TEXT_SUFFIXES = (".json", ".txt", ".model", ".jinja")
PICKLE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
INDEX_FILE = "model_index.json"
UNWRITABLE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
# The entity tag of a file in LFS.
SHA256_PATTERN = re.compile("[0-9a-f]{64}")
# Half the size, at the same quality on every device, since weights are converted when they are loaded.
HALF_PRECISION_VARIANT = "fp16"


@dataclass(frozen=True)
class HubFile:
    """`path` is relative to the repository, `size` in bytes. `sha256` is None for small files, which are not in LFS."""

    path: str
    size: int
    sha256: str | None
    url: str


@dataclass(frozen=True)
class DownloadPlan:
    """The files that a download fetches, at one commit."""

    reference: str
    repository: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class HubClient:
    """Lists files of repositories, with the token of the studio's owner (HF_TOKEN) if there is one.

    `endpoint` is the address of the Hub; None means HF_ENDPOINT.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        self.api = HfApi(endpoint=endpoint)

    def plan_model(self, reference: str, hub_files: HubFiles) -> DownloadPlan:
        """Returns the files of a whole model, or the one file that `hub_files` names.

        Blocks on the network. Raises HubRequestFailed and UnusableModel.
        """
        commit, files = self._list_files(reference, hub_files)
        if hub_files.file is not None:
            check_file(reference, files, hub_files.file)
            return self._plan(reference, hub_files.repository, commit, [files[hub_files.file]])
        if INDEX_FILE not in files:
            single_files = [name for name in files if name.endswith(".safetensors") and "/" not in name]
            problem = f"it is not a model in diffusers format: it has no {INDEX_FILE}"
            raise UnusableModel(
                reference,
                f"{problem}; {describe_choice(qualify_names(hub_files.repository, single_files))}"
                if single_files
                else problem,
            )
        index = self._read_index(reference, hub_files.repository, commit)
        needed = select_pipeline_files(reference, index, list(files), hub_files.variant)
        return self._plan(reference, hub_files.repository, commit, [files[name] for name in needed])

    def plan_adapter(self, reference: str, hub_files: HubFiles, kind: str) -> DownloadPlan:
        """Returns the one file of an adapter, with PEFT's configuration beside it.

        Blocks on the network. Raises HubRequestFailed and UnusableModel.
        """
        commit, files = self._list_files(reference, hub_files)
        path = choose_file(reference, hub_files, kind, files)
        config = str(PurePosixPath(path).with_name(PEFT_CONFIG_FILE))
        return self._plan(
            reference, hub_files.repository, commit, [files[name] for name in (path, config) if name in files]
        )

    def plan_network(self, reference: str, hub_files: HubFiles, kind: str) -> DownloadPlan:
        """Returns the weights of a ControlNet, a VAE or a detector, with the configurations beside them.

        Blocks on the network. Raises HubRequestFailed and UnusableModel.
        """
        commit, files = self._list_files(reference, hub_files)
        weights = find_weights(files)
        top = [name for name in weights if "/" not in name]
        if hub_files.file is None and CONFIG_FILE in files and INDEX_FILE not in files and top:
            hub_files = replace(hub_files, file=choose_weights(top))
        path = choose_file(reference, hub_files, kind, [*files, *weights])
        parts = self._list_parts(reference, hub_files.repository, commit, weights.get(path, path), files)
        configs = [str(PurePosixPath(path).with_name(name)) for name in (CONFIG_FILE, PROCESSOR_FILE)]
        chosen = [files[name] for name in (*parts, *configs) if name in files]
        return self._plan(reference, hub_files.repository, commit, chosen)

    def _list_parts(self, reference: str, repository: str, commit: str, path: str, files: Collection[str]) -> list[str]:
        """Returns the files of weights: the one file, or an index with its shards.

        Raises HubRequestFailed, and UnusableModel for an index that cannot be read or a shard that is not there.
        """
        if not is_index(path):
            return [path]
        try:
            names = set(parse_weight_map(self._read_json(reference, repository, commit, path)).values())
        except ValueError:
            raise UnusableModel(reference, f"its {path} cannot be read") from None
        shards = [str(PurePosixPath(path).with_name(name)) for name in sorted(names)]
        for shard in shards:
            check_file(reference, files, shard)
        return [path, *shards]

    def plan_ip_adapter(
        self, reference: str, hub_files: HubFiles, kind: str, has_encoder: Callable[[IpAdapterFacts], bool]
    ) -> DownloadPlan:
        """Returns the one file of an IP-Adapter, with the image encoder of its repository that it needs.

        It can do without one if `has_encoder` says that there is another on disk.
        Blocks on the network. Raises HubRequestFailed and UnusableModel.
        """
        commit, files = self._list_files(reference, hub_files)
        path = choose_file(reference, hub_files, kind, files)
        repository = hub_files.repository
        facts = self._read_ip_adapter(reference, repository, commit, path, kind)
        for config in sort_by_distance((name for name in files if PurePosixPath(name).name == CONFIG_FILE), path):
            folder = PurePosixPath(config).parent
            weights = find_weights(name for name in files if PurePosixPath(name).parent == folder)
            if weights and fits_encoder(self._read_json(reference, repository, commit, config), facts):
                encoder = weights[choose_weights(weights)]
                parts = self._list_parts(reference, repository, commit, encoder, files)
                return self._plan(reference, repository, commit, [files[name] for name in (path, config, *parts)])
        if not has_encoder(facts):
            raise UnusableModel(reference, describe_missing_encoder(facts), kind)
        return self._plan(reference, repository, commit, [files[path]])

    def _read_ip_adapter(self, reference: str, repository: str, commit: str, path: str, kind: str) -> IpAdapterFacts:
        """Returns what the tensors of an IP-Adapter say. Only the header of its file is fetched."""
        with map_hub_exceptions(reference):
            try:
                found = self.api.parse_safetensors_file_metadata(repository, path, revision=commit)
                shapes = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
                return detect_ip_adapter(SafetensorsHeader(shapes, {}))
            except SafetensorsParsingError:
                raise UnusableModel(reference, "it is not a complete safetensors file", kind) from None
            except UnknownIpAdapter as error:
                raise UnusableModel(reference, str(error), kind) from None

    def _list_files(self, reference: str, hub_files: HubFiles) -> tuple[str, dict[str, RepoSibling]]:
        """Returns the commit, and its files by path."""
        with map_hub_exceptions(reference):
            info = self.api.model_info(hub_files.repository, revision=hub_files.revision, files_metadata=True)
        assert info.sha is not None
        return info.sha, {file.rfilename: file for file in info.siblings or []}

    def _plan(self, reference: str, repository: str, commit: str, files: Iterable[RepoSibling]) -> DownloadPlan:
        """Returns the plan for these files of a repository. Raises HubRequestFailed."""
        with map_hub_exceptions(reference):
            measured = tuple(self._describe_file(reference, repository, commit, file) for file in files)
        return DownloadPlan(reference, repository, commit, measured)

    def _describe_file(self, reference: str, repository: str, commit: str, file: RepoSibling) -> HubFile:
        """Returns a file with its size, for which it asks with HEAD if the list of files has none, as on some mirrors.

        Raises HubRequestFailed if the Hub does not tell it, and what its client raises.
        """
        url = hf_hub_url(repository, file.rfilename, revision=commit, endpoint=self.api.endpoint)
        sha256 = file.lfs.sha256 if file.lfs else None
        if file.size is not None:
            return HubFile(file.rfilename, file.size, sha256, url)
        found = self.api.get_hf_file_metadata(url=url)
        if found.size is None:
            raise HubRequestFailed(reference, f"the Hub does not tell the size of {file.rfilename}")
        is_sha256 = found.etag is not None and SHA256_PATTERN.fullmatch(found.etag)
        return HubFile(file.rfilename, found.size, sha256 or (found.etag if is_sha256 else None), url)

    def _read_index(self, reference: str, repository: str, commit: str) -> dict[str, object]:
        return self._read_json(reference, repository, commit, INDEX_FILE)

    def _read_json(self, reference: str, repository: str, commit: str, name: str) -> dict[str, object]:
        with map_hub_exceptions(reference), TemporaryDirectory() as folder:
            file = hf_hub_download(repository, name, revision=commit, local_dir=folder, endpoint=self.api.endpoint)
            try:
                content = json.loads(Path(file).read_bytes())
            except ValueError:
                content = None
        if not isinstance(content, dict):
            raise UnusableModel(reference, f"its {name} cannot be read")
        return content


def qualify_names(repository: str, files: list[str]) -> list[str]:
    """Returns references to single files of a repository."""
    return [f"{repository}/{file}" for file in files]


def choose_file(reference: str, hub_files: HubFiles, kind: str, files: Collection[str]) -> str:
    """Returns the file of an adapter: the one that `hub_files` names, or the only one that the repository has.

    Raises UnusableModel.
    """
    tensors = [name for name in files if name.endswith(".safetensors") and not is_shard(name)]
    if hub_files.file is None and INDEX_FILE in files:
        raise UnusableModel(reference, "it is a model", kind)
    if hub_files.file is None and not tensors:
        raise UnusableModel(reference, "it contains no safetensors, and pickles are never loaded", kind)
    if hub_files.file is None and len(tensors) > 1:
        raise UnusableModel(reference, describe_choice(qualify_names(hub_files.repository, tensors)), kind)
    path = hub_files.file or tensors[0]
    check_file(reference, files, path, kind)
    return path


def check_file(reference: str, files: Collection[str], path: str, kind: str = "model") -> None:
    """Raises UnusableModel if a repository has no such file."""
    if path not in files:
        raise UnusableModel(reference, f"the repository has no file {path}", kind)


def select_pipeline_files(reference: str, index: dict[str, object], files: list[str], variant: str | None) -> list[str]:
    """Returns the files that a pipeline needs, with one set of weights for each component. Raises UnusableModel."""
    denoiser = get_family(check_pipeline_class(index.get("_class_name"), reference)).denoiser
    has_half_precision = any(
        file.startswith(f"{denoiser}/") and re.search(rf"\.{HALF_PRECISION_VARIANT}[.-]", file) for file in files
    )
    variant = variant or (HALF_PRECISION_VARIANT if has_half_precision else None)
    check_components(index, reference)
    needed = [INDEX_FILE]
    for component, (_, name) in parse_components(index).items():
        component_files = [file for file in files if str(PurePosixPath(file).parent) == component]
        needed += [file for file in component_files if file.endswith(TEXT_SUFFIXES) and ".index." not in file]
        if has_weights(name):
            needed += select_weights(reference, component, component_files, variant)
    return needed


def select_weights(reference: str, component: str, component_files: list[str], variant: str | None) -> list[str]:
    """Returns one complete set of weights: the variant if there is one, else the plain set, else the only one."""
    tensors = [file for file in component_files if file.endswith(".safetensors")]
    if not tensors:
        pickles = [file for file in component_files if file.endswith(PICKLE_SUFFIXES)]
        problem = "has its weights in pickles alone, which may run code" if pickles else "has no weights"
        raise UnusableModel(reference, f"its part {component} {problem}; only safetensors are loaded")
    chosen = [file for file in tensors if variant and re.search(rf"\.{re.escape(variant)}[.-]", file)]
    if chosen:
        return [*chosen, *(file for file in component_files if ".index." in file and f".{variant}." in file)]
    plain = [file for file in tensors if has_no_variant(file)]
    return [*(plain or tensors), *(file for file in component_files if file.endswith(".safetensors.index.json"))]


def has_no_variant(file: str) -> bool:
    """Returns True for `name.safetensors` and `name-00001-of-00002.safetensors`, not for `name.variant.safetensors`."""
    return PurePosixPath(file).name.count(".") == 1


@contextmanager
def map_hub_exceptions(reference: str) -> Iterator[None]:
    """Maps exceptions of the Hub's client to HubRequestFailed with one sentence for the user."""
    try:
        yield
    except GatedRepoError:
        problem = "its terms must be accepted on its page first, by the account whose HF_TOKEN the studio has"
        raise HubRequestFailed(reference, problem) from None
    except RevisionNotFoundError:
        raise HubRequestFailed(reference, "the pinned revision does not exist any more") from None
    except RepositoryNotFoundError:
        problem = "there is no such repository, or the account of HF_TOKEN may not read it"
        raise HubRequestFailed(reference, problem) from None
    except EntryNotFoundError:
        raise HubRequestFailed(reference, "one of its files does not exist any more") from None
    except HFValidationError:
        raise HubRequestFailed(reference, "that is not the name of a repository") from None
    except OfflineModeIsEnabled:
        raise HubRequestFailed(reference, "the studio is offline, because HF_HUB_OFFLINE is set") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        logger.warning("The Hub returned an error", exc_info=error, extra={"action": "hub_error"})
        problem = "HF_TOKEN is not valid" if status == 401 else f"the Hub answered {status}; please try again"
        raise HubRequestFailed(reference, problem) from None
    except (OSError, HTTPError) as error:
        number = getattr(error, "errno", None)
        if isinstance(number, int) and number in UNWRITABLE_ERRNOS:
            raise HubRequestFailed(reference, f"it cannot be written here: {os.strerror(number)}") from None
        logger.warning("The Hub could not be reached", exc_info=error, extra={"action": "hub_unreachable"})
        problem = "the connection failed; the partial download is kept. Please try again"
        raise HubRequestFailed(reference, problem) from None
