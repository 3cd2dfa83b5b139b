"""Uploads that are public, a front end that npm builds."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable

from playwright.sync_api import Page, expect
from visitor import Visit, Wait


def picture(colour: tuple[int, int, int], width: int = 160, height: int = 90) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress((b"\0" + bytes(colour) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_gallery_shows_a_thumbnail_and_runs_its_front_end(
    visit: Visit, open_page: Callable[[str, str], Page], wait_until: Wait
) -> None:
    """The upload, the worker's file beside it, and what npm built: a script that writes sizes as people read them."""
    gallery = visit("gallery")
    shown = gallery.send("/", {"title": "Blue"}, files={"image": ("blue.png", io.BytesIO(picture((0, 0, 200))))})
    wait_until(lambda: 'id="thumbnail"' in gallery.text(shown))
    (thumbnail,) = re.findall(r'id="thumbnail" src="([^"]+)"', gallery.text(shown))
    assert gallery.get(thumbnail).content.startswith(b"\xff\xd8")
    expect(open_page("gallery", shown).locator("[data-bytes]")).to_have_text(re.compile(r"^\d+ bytes$"))
