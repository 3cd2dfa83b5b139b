import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chat.settings")

# Before anything that uses models is imported.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from rooms.consumers import RoomConsumer  # noqa: E402
from rooms.lifespan import lifespan  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(URLRouter([path("ws/<slug:room>/", RoomConsumer.as_asgi())])),
        "lifespan": lifespan,
    }
)
