"""The newest pictures of a user, and the one that is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imagegen.schema.base import User
from imagegen.schema.receipt import Picture
from imagegen.service import Service

MAX_HISTORY = 48


@dataclass(frozen=True)
class PictureHistory:
    """The newest pictures, newest first, and the one that is shown, which may be older."""

    pictures: tuple[Picture, ...] = ()
    shown: Picture | None = None

    def prepend(self, pictures: tuple[Picture, ...]) -> PictureHistory:
        """Adds new pictures, and shows the first of them."""
        new = {picture.id for picture in pictures}
        earlier = tuple(picture for picture in self.pictures if picture.id not in new)
        return PictureHistory((pictures + earlier)[:MAX_HISTORY], pictures[0])

    def show(self, picture: Picture) -> PictureHistory:
        return replace(self, shown=picture)

    def find(self, picture_id: str) -> Picture | None:
        return next((picture for picture in self.pictures if picture.id == picture_id), None)


async def load_picture(service: Service, picture_id: str, user: User) -> Picture:
    """Raises UnknownPicture, and InvalidRequest for a picture of another version of the studio."""
    return (await service.pictures.get(picture_id, user)).to_picture()
