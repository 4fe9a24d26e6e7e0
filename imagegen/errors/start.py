"""Errors that end the start of the studio. Their messages say what the operator can do."""

from __future__ import annotations

from pathlib import Path

from imagegen.errors.base import ImageGenError


class AddressUnavailable(ImageGenError):
    """The studio cannot listen on {address}, because {problem}. Choose another with {flag}."""

    code, status = "address_unavailable", 500

    def __init__(self, host: str, port: int, problem: str, flag: str) -> None:
        super().__init__(address=f"{host}, port {port}", problem=problem, flag=flag)


class FolderInUse(ImageGenError):
    """Another studio uses the data folder {folder}. End it, or choose another folder with --data-dir."""

    code, status = "folder_in_use", 500

    def __init__(self, folder: Path) -> None:
        super().__init__(folder=folder)


class FolderUnusable(ImageGenError):
    """The folder {folder} cannot be used: {problem}. Choose another with {flag}."""

    code, status = "folder_unusable", 500

    def __init__(self, folder: Path, problem: str, flag: str) -> None:
        super().__init__(folder=folder, problem=problem, flag=flag)


class InvalidKeysFile(ImageGenError):
    """The keys file {file} is invalid: {problem}. Correct it, or remove it and create new keys."""

    code, status = "bad_keys_file", 500

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(file=file, problem=problem)


class DatabaseUnusable(ImageGenError):
    """The database {file} cannot be used, because {problem}. {advice}"""

    code, status = "database_unusable", 500

    def __init__(self, file: Path, problem: str, advice: str) -> None:
        super().__init__(file=file, problem=problem, advice=advice)
