import pytest
import requests
from gateway.server import Server
from inventory import services
from inventory.models import Product
from inventory.tasks import sync_inventory

from tests.conftest import Worker, misbehave, wait_until


@pytest.fixture
def soup(db: None) -> Product:
    return Product.objects.update_or_create(sku="carrot-soup", defaults={"name": "Soup", "price": 650})[0]


def test_the_stock_of_known_products_is_read(soup: Product, product: Product, gateway: Server) -> None:
    gateway.stock = {"carrot-soup": 7, "unknown-to-us": 1}
    assert services.sync() == 1
    soup.refresh_from_db()
    product.refresh_from_db()
    assert soup.stock == 7
    assert soup.synced_at
    assert product.synced_at is None


@pytest.mark.parametrize("mode", ["timeout", "fail", "drop"])
def test_a_failing_service_changes_nothing(soup: Product, gateway: Server, mode: str) -> None:
    misbehave(gateway, "stock", mode)
    with pytest.raises(requests.RequestException):
        services.sync()
    soup.refresh_from_db()
    assert soup.stock == 0


@pytest.mark.results
def test_the_task_retries_by_itself(worker: Worker, soup: Product, gateway: Server) -> None:
    misbehave(gateway, "stock", "fail", times=3)
    sync_inventory.delay()
    wait_until(lambda: Product.objects.get(pk=soup.pk).synced_at)
    assert gateway.requests["stock"] == 4


def test_the_backoff_doubles_up_to_ten_minutes() -> None:
    for option, value in (("retry_backoff", True), ("retry_jitter", False), ("max_retries", 5)):
        assert getattr(sync_inventory, option) == value
