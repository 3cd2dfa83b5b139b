"""Messages that a worker holds, and a Redis that does not hear of it: one that stalls, or was replaced by another of its Sentinels'.

kombu loses a message that it cannot note down after it has taken it; and of one that it cannot acknowledge it keeps the place for as long as
the connection lives: a worker whose last place is gone takes nothing more, and says that all is well.
"""

from typing import Any

from kombu.transport import redis, virtual
from redis.exceptions import ConnectionError, TimeoutError


class QoS(redis.QoS):
    """Notes down what was taken by a new connection if it has to, and gives places back, whatever Redis says.

    Of a message that was not acknowledged Redis believes that it is being worked on, and hands it out after the visibility timeout.
    """

    def append(self, message: Any, delivery_tag: Any) -> None:
        try:
            super().append(message, delivery_tag)
        except (ConnectionError, TimeoutError):
            # The connection at hand was to a server that has gone since; it is made anew, to the one that there is.
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: Any) -> None:
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


def hold_messages() -> None:
    """In this way, from now on, for all connections of this process."""
    redis.Channel.QoS = QoS
