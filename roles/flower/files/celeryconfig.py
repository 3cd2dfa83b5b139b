"""What Flower's own Celery has to know about the broker; its address comes as CELERY_BROKER_URL."""

import json
import os

from flower.inspector import Inspector

# A worker's configuration is not asked for: a Django project's usually holds all of Django's settings, of which Celery hides a
# secret only if the setting's name tells that it is one.
Inspector.inspect_methods = tuple(method for method in Inspector.inspect_methods if method != "conf")

broker_connection_retry_on_startup = True
broker_transport_options = {
    # The prefix before every key of the application, such as "celery:".
    "global_keyprefix": os.environ["FLOWER_KEY_PREFIX"],
    # A broker that went away silently must not hang Flower for ever; seconds.
    "socket_timeout": 30,
    "socket_connect_timeout": 10,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # What else the broker's address needs: that of Sentinels, master_name and sentinel_kwargs.
    **json.loads(os.environ["FLOWER_BROKER_OPTIONS"]),
}
