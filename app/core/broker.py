"""What the broker knows: how much waits, and whether it answers."""

import uuid
from typing import Any

from celery import current_app
from kombu import Producer, Queue


def queue_names() -> list[str]:
    """The queues that the routes send the project's tasks to."""
    return sorted({queue_of(name) for name in current_app.tasks})


def queue_lengths() -> dict[str, int]:
    """Messages that wait in each queue. Raises kombu's OperationalError when the broker does not answer."""
    lengths = {}
    with current_app.connection_or_acquire() as broker:
        # One that ended in the middle of a message comes back into the pool closed.
        broker.ensure_connection(max_retries=1, interval_start=0)
        with broker.channel() as channel:
            for name in queue_names():
                # Declared as workers declare it, so that RabbitMQ agrees. Not passive: under a key prefix kombu then looks
                # for a key without it, and finds no queue.
                queue: Any = current_app.amqp.queues[name](channel)
                lengths[name] = queue.queue_declare().message_count
    return lengths


def queue_of(task: str) -> str:
    """The queue the routes send the task of this name to."""
    name: str = current_app.amqp.router.route({}, task)["queue"].name
    return name


def routing_key_of(queue: str) -> str:
    """By which messages come to the queue of this name."""
    key: str = current_app.amqp.queues[queue].routing_key
    return key


def check() -> None:
    """Sends a message through a queue of its own: a broker that is full, or cannot write its disk, answers but takes none.

    Raises kombu's OperationalError when the broker does not answer, an error of its transport when it refuses the message, and
    RuntimeError when the message does not come back.
    """
    with current_app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0)
        # Gone with the channel; should this process be killed here, Redis forgets it after a minute.
        queue = Queue(f"check.{uuid.uuid4()}", durable=False, auto_delete=True, exclusive=True, expires=60)
        with broker.channel() as channel:
            bound: Any = queue(channel)
            bound.declare()
            Producer(channel).publish({}, routing_key=queue.name)
            if not bound.get(no_ack=True):
                raise RuntimeError("the broker does not keep what it is given")
