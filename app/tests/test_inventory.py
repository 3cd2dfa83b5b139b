import io
import json
import os
import subprocess
import sys

import pytest
import requests
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from gateway.server import Server
from inventory import services
from inventory.models import Product
from inventory.tasks import sync_inventory

from tests.conftest import Worker, database_of_tests, misbehave, wait_until


def seed_demo() -> str:
    output = io.StringIO()
    call_command("seed_demo", stdout=output)
    return output.getvalue()


@pytest.fixture
def soup(db: None) -> Product:
    return Product.objects.create(sku="carrot-soup", name="Soup", price=650)


def test_a_new_shop_has_no_products_and_its_page_says_so(site: Client, db: None) -> None:
    page = site.get("/").content.decode()
    assert "Nothing is on the menu yet" in page
    assert "Place the order" not in page
    assert "/admin/" not in page
    assert site.post("/", {"quantity": 1}).status_code == 422


def test_who_may_add_products_is_shown_where(site: Client, admin: User) -> None:
    site.force_login(admin)
    assert 'href="/admin/inventory/product/add/"' in site.get("/").content.decode()


def test_the_demos_products_are_created_once_and_sold(site: Client, db: None, gateway: Server) -> None:
    assert seed_demo().count("created: ") == 5
    Product.objects.filter(sku="carrot-soup").update(price=700)
    assert seed_demo() == ""
    assert Product.objects.get(sku="carrot-soup").price == 700
    page = site.get("/").content.decode()
    assert "Lentil dal" in page
    assert "Place the order" in page
    assert services.sync() == 5, "the demo's inventory knows them all"


def test_a_database_with_the_products_of_an_earlier_release_keeps_them(soup: Product) -> None:
    """That release made them in a migration, which is recorded there and gone from here."""
    MigrationRecorder(connection).record_applied("inventory", "0002_first_products")
    call_command("migrate", verbosity=0)
    call_command("migrate", check_unapplied=True, verbosity=0)
    assert Product.objects.get() == soup


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


PAUSES = """
import django
django.setup()
from inventory.tasks import sync_inventory

def retry(exc, countdown):
    pauses.append(countdown)
    return exc

pauses = []
sync_inventory.retry = retry
for retries in (3, 20):
    sync_inventory.push_request(retries=retries)
    for _ in range(20):
        try:
            sync_inventory()
        except Exception as error:
            assert "refused" in str(error), error
print(*pauses)
"""


def test_the_pauses_grow_up_to_ten_minutes_and_differ() -> None:
    variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "RETRY_BACKOFF_MAX": "600"}
    variables["INVENTORY_URL"] = "http://127.0.0.1:1"
    result = subprocess.run([sys.executable, "-c", PAUSES], env=variables, capture_output=True, text=True)
    pauses = [int(pause) for pause in result.stdout.split()]
    early, late = pauses[:20], pauses[20:]
    assert len(set(early)) > 1
    assert max(early) <= 8
    assert len(set(late)) > 10
    assert 8 < max(late) <= 600


def product_form(**values: object) -> dict[str, object]:
    return {"sku": "carrot-soup", "name": "Carrot soup", "price": 650, "stock": 0} | values


def test_a_product_saved_in_the_admin_has_its_stock_at_once(
    site: Client, admin: User, worker: Worker, gateway: Server
) -> None:
    gateway.stock = {"carrot-soup": 7}
    site.force_login(admin)
    site.post("/admin/inventory/product/add/", product_form())
    wait_until(lambda: Product.objects.get().stock == 7)


SAVE = """
import django, json, sys
django.setup()
from django.contrib.auth.models import User
from django.test import Client
site = Client(headers={"x-forwarded-proto": "https"})
site.force_login(User.objects.get())
page = site.post("/admin/inventory/product/add/", json.loads(sys.argv[1]), follow=True)
print(page.status_code, page.content.decode())
"""


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_does_not_keep_a_product_from_being_saved(admin: User) -> None:
    variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": database_of_tests()}
    variables |= {"CELERY_BROKER_URL": "redis://127.0.0.1:1", "DEBUG": "1"}  # no collected files
    program = [sys.executable, "-c", SAVE, json.dumps(product_form())]
    result = subprocess.run(program, env=variables, capture_output=True, text=True)
    assert result.stdout.startswith("200 "), result.stderr
    assert "The stock will be read later" in result.stdout
    assert Product.objects.get().name == "Carrot soup"
