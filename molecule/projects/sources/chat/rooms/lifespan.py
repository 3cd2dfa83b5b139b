import os

from django.utils import timezone

from rooms.models import Server


async def lifespan(scope, receive, send):
    """Write down when this server process began and when it ended."""
    server = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            server = await Server.objects.acreate(pid=os.getpid())
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await Server.objects.filter(pk=server.pk).aupdate(ended=timezone.now())
            await send({"type": "lifespan.shutdown.complete"})
            return
