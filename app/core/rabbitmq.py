"""RabbitMQ that lacks memory or disk space takes nothing more, and says so; who wants to send is told at once.

Without this, py-amqp would wait until there is space again: a visitor's page would, too.
"""

import amqp
from kombu.exceptions import OperationalError


def end_blocked_connection(connection: amqp.Connection) -> None:
    """Ends a connection on which RabbitMQ reads no more, not even that it is to be closed.

    Raises kombu's OperationalError, which stops all attempts to send again by another connection.
    """
    connection.collect()
    raise OperationalError("RabbitMQ takes no messages: it lacks memory or disk space")


def refuse_to_wait() -> None:
    """From now on, for all connections of this process."""
    # py-amqp's own only calls somebody else, who is not told which connection it is.
    setattr(amqp.Connection, "_on_blocked", end_blocked_connection)  # noqa: B010  a plain assignment is refused by mypy
