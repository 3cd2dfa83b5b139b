"""What a worker writes to its log."""

from pathlib import Path

import pytest
from gateway.server import Server
from inventory.models import Product
from payments.models import Order
from payments.tasks import process_payment

from tests.conftest import Worker

QUEUE = "logged"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("level", "other"), [("INFO", "ERROR"), ("ERROR", "INFO")])
def test_a_worker_logs_at_the_level_it_is_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, other: str
) -> None:
    monkeypatch.setenv("LOG_LEVEL", other)
    worker = Worker("logging", queues=[QUEUE], loglevel=level)
    with (tmp_path / "log").open("wb") as log:
        worker.start(log)
    worker.stop()
    assert (" ready." in (tmp_path / "log").read_text()) == (level == "INFO")


@pytest.mark.django_db(transaction=True)
@pytest.mark.results
def test_lines_that_a_task_writes_name_it(product: Product, gateway: Server, tmp_path: Path) -> None:
    order = Order.objects.create(product=product, quantity=1, amount=1102)  # such amounts are declined
    worker = Worker("logging", queues=[QUEUE], loglevel="WARNING")
    with (tmp_path / "log").open("wb") as log:
        worker.start(log)
    result = process_payment.apply_async((order.pk,), queue=QUEUE)
    assert result.get(timeout=15) == Order.State.FAILED
    worker.stop()
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if f"order {order.pk} is failed" in line]
    assert line.startswith(f"WARNING payments.services payments.tasks.process_payment[{result.id}] order")
