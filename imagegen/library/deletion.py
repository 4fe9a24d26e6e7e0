"""Removes downloads from the disk."""

from __future__ import annotations

import glob
import shutil

from imagegen.errors import InvalidRequest
from imagegen.library.shards import name_whole
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.weight_files import list_indexes, list_weight_files


def delete_download(snapshots: Snapshots, kind: str, reference: str, hub_files: HubFiles | None) -> None:
    """Deletes one file of a repository, or all of it when nothing else of it is on disk.

    `hub_files` is None for files that do not come from the Hub. Raises InvalidRequest for files that are not in the
    studio's own folder of downloads.
    """
    folder = snapshots.get_repository_folder(hub_files.repository) if hub_files else None
    if hub_files is None or folder is None or not folder.exists():
        raise InvalidRequest(kind, f"{reference} was not downloaded by the studio, so it is not deleted by it")
    if hub_files.file is not None:
        for file in folder.glob(f"snapshots/*/{glob.escape(hub_files.file)}*"):
            file.unlink()
        for snapshot in folder.glob("snapshots/*"):
            for name in (*list_weight_files(snapshot), *list_indexes(snapshot)):
                if name_whole(name) == hub_files.file:
                    (snapshot / name).unlink()
    if hub_files.file is None or not list_weight_files(folder):
        shutil.rmtree(folder)
