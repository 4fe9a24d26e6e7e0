"""What one open page shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from ui.workspace.followed_jobs import FollowedJobs
from ui.workspace.history import PictureHistory


@dataclass
class PageState:
    """All handlers of a page share one of these, and change it.

    `watched` is whether the stage shows the previews of the running job. While the user looks at another picture, the
    stage keeps that picture. `has_preview` is whether the last picture that was sent to the page is a preview.
    `start_images` are the files of the input pictures in the form, by field.
    """

    history: PictureHistory = field(default_factory=PictureHistory)
    jobs: FollowedJobs = field(default_factory=FollowedJobs)
    watched: bool = True
    has_preview: bool = False
    start_images: dict[str, str] = field(default_factory=dict)
