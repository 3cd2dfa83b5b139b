"""A task that leaves a line for each time it runs, and who sends it until RabbitMQ has confirmed each one. Runs beside the shop, with its settings.

celery -A counted worker -Q counted     runs it
python -m counted PART COUNT            sends it so often, and prints how often it was refused or not confirmed
"""

import os
import sys
import time

import amqp
from config.celery import app
from kombu.exceptions import OperationalError

DONE = "/run/counted/done"


@app.task(name="counted.count", ignore_result=True)
def count(part: str, number: int) -> None:
    """A line is written in one piece, by whichever process."""
    file = os.open(DONE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{part} {number} {time.time():.3f}\n".encode())
    os.close(file)


def send(part: str, total: int) -> int:
    """One that is refused, or not confirmed in time, is sent again under the same number."""
    refused = 0
    for number in range(total):
        while True:
            try:
                count.apply_async((part, number), queue="counted")
                break
            except (OperationalError, OSError, amqp.AMQPError):
                refused += 1
                time.sleep(0.2)
    return refused


if __name__ == "__main__":
    print(send(sys.argv[1], int(sys.argv[2])))
