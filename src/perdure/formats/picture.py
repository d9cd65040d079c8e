"""Pictures as URLs: the OpenAI formats carry base64 data in ``data:`` URLs."""

from __future__ import annotations

from .message import Image


def image_of(url: str, detail: str = "") -> Image:
    """The image behind a URL; a base64 ``data:`` URL is taken apart, any other kept whole."""
    head, comma, data = url.partition(";base64,")
    media_type = head.removeprefix("data:")
    if comma and head.startswith("data:") and ";" not in media_type:
        return Image(media_type=media_type, data=data, detail=detail)
    return Image(url=url, detail=detail)


def url_of(image: Image) -> str:
    """The URL of an image, a ``data:`` URL if it holds its data itself."""
    return image.url or f"data:{image.media_type};base64,{image.data}"
