"""The errors of the studio. Each class carries its HTTP status and its code for programs.

ImageGenError
├── InvalidRequest          a field of a request is invalid
│   ├── UnknownModel
│   ├── UnusableModel
│   ├── TokensUnknown       the tokens of a prompt cannot be counted for a model
│   └── NotOnDisk
├── InvalidCatalogue        the owner's list of models is invalid
├── DatabaseTooNew          a newer version of the studio wrote the database
├── DatabaseUnusable        the database is damaged, or cannot be opened
├── AddressUnavailable      the studio cannot listen on its address
├── FolderInUse             another studio uses the data folder
├── FolderUnusable          a folder of the settings cannot be used
├── InvalidKeysFile         the file with the studio's keys is invalid
├── StorageUnavailable      the database is locked, damaged or cannot be written
│   └── StorageFull
├── StudioStopping          the studio is about to end
├── HubRequestFailed        the Hub does not provide a repository or file
├── InsufficientStorage     a download exceeds the size limit or the free disk space
├── AdministratorRequired   only an administrator may do this
├── DownloadStopped         a download was stopped before it was complete
├── LoadStopped             the loading of a model was stopped
├── RemoteError             an error of another process, or of a stored event
├── QueueFull               the queue has reached its limit
├── RateLimited             a user has reached a limit
│   ├── TooManyBytes
│   ├── TooManyJobs
│   └── TooManyRequests
├── IdempotencyKeyReused    the same Idempotency-Key with a different request
├── NotFound                it does not exist, or it belongs to another user
│   ├── UnknownJob
│   ├── UnknownPicture
│   ├── UnknownUser
│   ├── UnknownRoute
│   └── NoPromptInPicture   a picture does not contain the prompt that it was made from
├── MethodNotAllowed        the route does not support the HTTP method
├── SignInRequired          the request has no credentials
│   └── BadCredentials
├── LoginFailed             the OpenID provider did not confirm the user
├── Forbidden               the user may not use this studio
├── SignInUnavailable       the OpenID provider cannot be reached
├── InvalidLink             the signature of a link to a picture is wrong
├── LinkExpired             a link to a picture has expired
├── CrossSiteRequest        a page of another website sent the request
├── WrongHost               the Host header is not one of the studio's names
├── PayloadTooLarge         the request body exceeds the limit
├── RequestTimeout          the body of a request arrives too slowly
├── UnsupportedOperation    another tool has this feature, the studio does not
├── JobCancelled            the job was cancelled before it had a result
├── NothingToKeep           a job that is to be ended early has no picture
├── UnexpectedError         anything else; the log has the details
└── JobFailed               the job was accepted and failed
    ├── WorkerDied
    ├── WorkerHung
    ├── WorkerLost
    ├── WorkerUnavailable
    ├── ModelLoadFailed
    ├── ModelTooLarge
    ├── PackageMissing
    ├── NonFiniteLatents
    ├── UpscalingFailed
    ├── OutOfMemory
    ├── InterruptedByShutdown
    ├── UnreadableJob
    └── ResultLost

The docstring of a class is its message for people, a template for the data of the error. This file only collects the
classes: import them from `imagegen.errors`.
"""

from __future__ import annotations

from imagegen.errors.access import (
    AdministratorRequired,
    BadCredentials,
    CrossSiteRequest,
    Forbidden,
    InvalidLink,
    LinkExpired,
    LoginFailed,
    SignInRequired,
    SignInUnavailable,
    WrongHost,
)
from imagegen.errors.base import ImageGenError, UnexpectedError, map_exception
from imagegen.errors.jobs import (
    InterruptedByShutdown,
    JobCancelled,
    JobFailed,
    NonFiniteLatents,
    NothingToKeep,
    OutOfMemory,
    RemoteError,
    UpscalingFailed,
    WorkerDied,
    WorkerHung,
    WorkerLost,
    WorkerUnavailable,
)
from imagegen.errors.limits import (
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    RequestTimeout,
    StudioStopping,
    TooManyBytes,
    TooManyJobs,
    TooManyRequests,
)
from imagegen.errors.models import (
    DownloadStopped,
    HubRequestFailed,
    InsufficientStorage,
    InvalidCatalogue,
    LoadStopped,
    ModelLoadFailed,
    ModelTooLarge,
    NotOnDisk,
    PackageMissing,
    TokensUnknown,
    UnknownModel,
    UnusableModel,
)
from imagegen.errors.requests import (
    IdempotencyKeyReused,
    InvalidRequest,
    MethodNotAllowed,
    NoPromptInPicture,
    NotFound,
    UnknownJob,
    UnknownPicture,
    UnknownRoute,
    UnknownUser,
    UnsupportedOperation,
    attribute_errors_to,
)
from imagegen.errors.start import AddressUnavailable, DatabaseUnusable, FolderInUse, FolderUnusable, InvalidKeysFile
from imagegen.errors.storage import DatabaseTooNew, ResultLost, StorageFull, StorageUnavailable, UnreadableJob

__all__ = [
    "AddressUnavailable",
    "AdministratorRequired",
    "BadCredentials",
    "CrossSiteRequest",
    "DatabaseTooNew",
    "DatabaseUnusable",
    "DownloadStopped",
    "FolderInUse",
    "FolderUnusable",
    "Forbidden",
    "HubRequestFailed",
    "IdempotencyKeyReused",
    "ImageGenError",
    "InsufficientStorage",
    "InterruptedByShutdown",
    "InvalidCatalogue",
    "InvalidKeysFile",
    "InvalidLink",
    "InvalidRequest",
    "JobCancelled",
    "JobFailed",
    "LinkExpired",
    "LoadStopped",
    "LoginFailed",
    "MethodNotAllowed",
    "ModelLoadFailed",
    "ModelTooLarge",
    "NoPromptInPicture",
    "NonFiniteLatents",
    "NotFound",
    "NotOnDisk",
    "NothingToKeep",
    "OutOfMemory",
    "PackageMissing",
    "PayloadTooLarge",
    "QueueFull",
    "RateLimited",
    "RemoteError",
    "RequestTimeout",
    "ResultLost",
    "SignInRequired",
    "SignInUnavailable",
    "StorageFull",
    "StorageUnavailable",
    "StudioStopping",
    "TokensUnknown",
    "TooManyBytes",
    "TooManyJobs",
    "TooManyRequests",
    "UnexpectedError",
    "UnknownJob",
    "UnknownModel",
    "UnknownPicture",
    "UnknownRoute",
    "UnknownUser",
    "UnreadableJob",
    "UnsupportedOperation",
    "UnusableModel",
    "UpscalingFailed",
    "WorkerDied",
    "WorkerHung",
    "WorkerLost",
    "WorkerUnavailable",
    "WrongHost",
    "attribute_errors_to",
    "map_exception",
]
