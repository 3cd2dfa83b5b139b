"""The ASGI application: Django for pages, an echo for WebSockets, and a diary of starts and stops."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "library.configuration")
pages = get_asgi_application()
DIARY = Path("/var/lib/library/diary")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def site(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one connection, or the process's own life."""
    if scope["type"] == "lifespan":
        await live(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        await pages(scope, receive, send)


async def live(receive: Receive, send: Send) -> None:
    """Write down when the process is up and when it ends."""
    for word in ("startup", "shutdown"):
        await receive()
        with DIARY.open("a") as diary:
            print(word, file=diary)
        await send({"type": f"lifespan.{word}.complete"})


async def echo(receive: Receive, send: Send) -> None:
    """Say again what is said."""
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": event["text"]})
