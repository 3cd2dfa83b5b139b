"""What Flower's own Celery has to know about the broker; its address comes as CELERY_BROKER_URL."""

import json
import os
import ssl
from urllib.parse import parse_qs, urlsplit

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

# Flower looks for what a broker's URL says of TLS here, and takes nothing of it from the URL. Of several Sentinels each says the same.
_url = urlsplit(os.environ["CELERY_BROKER_URL"].partition(";")[0])
_query = parse_qs(_url.query)
if _url.scheme == "rediss" or (_url.scheme == "sentinel" and "ssl_ca_certs" in _query):
    broker_use_ssl = {
        "ssl_cert_reqs": ssl.CERT_NONE
        if _query.get("ssl_cert_reqs") in (["none"], ["CERT_NONE"])
        else ssl.CERT_REQUIRED,
        **{name: value[0] for name, value in _query.items() if name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")},
    }
    if _url.scheme == "sentinel":
        broker_transport_options["sentinel_kwargs"] |= {"ssl": True, **broker_use_ssl}

# An address of RabbitMQ can say nothing of it.
elif _url.scheme == "amqps":
    broker_use_ssl = {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": os.environ.get("FLOWER_BROKER_CA"),
        "server_hostname": os.environ.get("FLOWER_BROKER_TLS_NAME"),
    }

# Workers whose messages are signed answer those alone who sign. The key comes as text: the application's file is not for Flower.
if os.environ.get("FLOWER_SIGNING_KEY"):
    from celery.security.certificate import Certificate, CertStore
    from celery.security.key import PrivateKey
    from celery.security.serialization import SecureSerializer
    from kombu.serialization import registry

    _own = Certificate(os.environ["FLOWER_SIGNING_CERTIFICATE"])
    _known = CertStore()
    _known.add_cert(_own)
    _signed = SecureSerializer(PrivateKey(os.environ["FLOWER_SIGNING_KEY"]), _own, _known, "sha256")
    registry.register(
        "auth", _signed.serialize, _signed.deserialize, content_type="application/data", content_encoding="utf-8"
    )
    task_serializer = "auth"
    accept_content = ["auth"]
    event_serializer = "json"
    result_accept_content = ["json"]
