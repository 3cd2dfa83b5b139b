"""The pages: health, figures, tasks, orders, errors."""

import re
import uuid
from datetime import timedelta

import pytest
from analytics.models import Report
from core import services
from core.access import own_or_403
from core.models import TaskRun
from core.throttle import address
from django.conf import settings as configured
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from django.utils import timezone
from gateway.server import Server
from inventory.models import Product
from payments.models import Order
from payments.tasks import process_payment
from pytest_django import Settings

from tests.conftest import Worker, misbehave, wait_until


def order_form(ordered: Product, **changes: object) -> dict[str, object]:
    return {"product": ordered.pk, "quantity": 2, "reference": uuid.uuid4()} | changes


def broken() -> None:
    raise ConnectionError("redis://celery:password@host refused")


# Health

CHECKS = {
    "database": "core.services.check_database",
    "cache": "core.services.check_cache",
    "broker": "core.broker.check",
}


def test_the_process_answers_without_any_service(site: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for check in CHECKS.values():
        monkeypatch.setattr(check, broken)
    assert site.get("/healthz").content == b"ok\n"


def test_ready_when_every_service_answers(site: Client, db: None) -> None:
    response = site.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"database": "ok", "cache": "ok", "broker": "ok"})


@pytest.mark.parametrize("name", ["database", "cache", "broker"])
def test_not_ready_names_the_service_and_no_address(
    site: Client, db: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(CHECKS[name], broken)
    response = site.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"database": "ok", "cache": "ok", "broker": "ok", name: "ConnectionError"}


def test_a_cache_that_forgets_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "get", lambda key: None)
    assert services.readiness()["cache"] == "RuntimeError"


# The tasks page


@pytest.mark.results
def test_the_last_run_of_a_task_is_shown_with_its_retries(order: Order, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "charges", "fail", times=1)
    result = process_payment.delay(order.pk)
    result.get(timeout=60)
    run = wait_until(lambda: TaskRun.objects.filter(state="SUCCESS").first())
    assert run
    assert (run.task_id, run.queue, run.retries) == (result.id, "critical", 1)
    wait_until(lambda: TaskRun.objects.filter(task_id=result.id, state="RETRY", retries=0).exists())
    assert run.worker.startswith("test@")
    assert 0 < run.seconds < 5


def test_a_tasks_page_lists_runs_and_queues(staff_site: Client, db: None) -> None:
    values = {"task_id": "1", "queue": "default", "state": "FAILURE", "seconds": 1.234, "finished_at": timezone.now()}
    TaskRun.objects.create(name="crm.tasks.sync_lead", retries=4, **values)
    page = staff_site.get("/tasks/").content.decode()
    assert "crm.tasks.sync_lead" in page
    assert "1.23" in page
    assert '<strong data-queue="low-priority">0</strong>' in page


def test_the_tasks_page_is_for_staff_only(user_site: Client) -> None:
    assert user_site.get("/tasks/").status_code == 403


def test_many_looks_at_the_tasks_page_ask_the_broker_once(staff_site: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> dict[str, int]:
        asked.append(1)
        return {"critical": 3}

    asked: list[int] = []
    monkeypatch.setattr("core.broker.queue_lengths", ask)
    pages = [staff_site.get("/tasks/").content.decode() for _ in range(5)]
    assert all('<strong data-queue="critical">3</strong>' in page for page in pages)
    assert len(asked) == 1


def test_htmx_gets_the_changing_part_alone(staff_site: Client, db: None) -> None:
    part = staff_site.get("/tasks/", headers={"hx-request": "true"}).content.decode()
    assert part.startswith('<div id="tasks"')
    assert "<html" not in part


def test_the_tasks_page_says_when_the_broker_is_away(
    staff_site: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.broker.queue_lengths", broken)
    assert "The broker does not answer" in staff_site.get("/tasks/").content.decode()


def test_old_runs_are_forgotten(db: None) -> None:
    for days in (6, 8):
        ended = timezone.now() - timedelta(days=days)
        TaskRun.objects.create(task_id=str(days), name="x", state="SUCCESS", seconds=0, finished_at=ended)
    assert services.forget_old_runs() == 1
    assert TaskRun.objects.get().task_id == "6"


def test_backoff_doubles_with_jitter_up_to_its_limit(settings: Settings) -> None:
    settings.RETRY_BACKOFF_BASE, settings.RETRY_BACKOFF_MAX = 2, 600
    for retries, ceiling in ((0, 2), (1, 4), (4, 32), (20, 600)):
        waits = {services.backoff(retries=retries) for _ in range(50)}
        assert all(ceiling / 2 <= wait <= ceiling for wait in waits)
        assert len(waits) > 1


# Orders


@pytest.mark.results
def test_an_order_placed_on_the_site_ends_paid(site: Client, product: Product, worker: Worker) -> None:
    page = site.post("/", order_form(product))["Location"]
    wait_until(lambda: site.get(f"{page}state.json").json()["state"] == "paid")
    shown = site.get(page).content.decode()
    assert 'data-state="paid"' in shown
    assert "ch_" in shown
    assert "hx-trigger" not in shown  # it is over: nothing to poll for


def test_an_unfinished_order_asks_again(site: Client, order: Order) -> None:
    part = site.get(order.get_absolute_url(), headers={"hx-request": "true"}).content.decode()
    assert 'hx-trigger="every 1s"' in part
    assert "Cancel the order" in part


def test_a_form_sent_twice_is_one_order(site: Client, product: Product) -> None:
    form = order_form(product)
    assert site.post("/", form)["Location"] == site.post("/", form)["Location"]
    assert Order.objects.count() == 1


def test_a_changed_form_sent_again_is_neither_dropped_nor_mixed_up(site: Client, product: Product) -> None:
    stew = Product.objects.create(sku="test-stew", name="Test stew", price=980)
    form = order_form(product)
    site.post("/", form)
    response = site.post("/", form | {"product": stew.pk})
    assert response.status_code == 422
    page = response.content.decode()
    assert "You sent this form before" in page
    assert f'<option value="{stew.pk}" selected' in page
    reference = re.search(r'name="reference" value="([^"]+)"', page)
    assert reference
    assert site.post("/", form | {"product": stew.pk, "reference": reference[1]}).status_code == 302
    assert sorted(order.product.name for order in Order.objects.all()) == ["Test soup", "Test stew"]


@pytest.mark.parametrize("change", [{"quantity": 0}, {"quantity": 100}, {"product": 0}, {"reference": "x"}])
def test_a_bad_order_is_explained(site: Client, product: Product, change: dict[str, object]) -> None:
    response = site.post("/", order_form(product, **change))
    assert response.status_code == 422
    assert "errorlist" in response.content.decode()
    assert not Order.objects.exists()


def test_a_customer_sees_the_orders_of_no_one_else(user_site: Client, order: Order, user: User) -> None:
    user_site.post("/", order_form(order.product, quantity=7))
    page = user_site.get("/").content.decode()
    assert "7 x Test soup" in page
    assert "2 x Test soup" not in page


def test_a_pending_order_can_be_cancelled_and_a_paid_one_not(site: Client, order: Order) -> None:
    site.post(f"{order.get_absolute_url()}cancel")
    assert 'data-state="cancelled"' in site.get(order.get_absolute_url()).content.decode()
    Order.objects.update(state=Order.State.PAID)
    response = site.post(f"{order.get_absolute_url()}cancel", follow=True)
    assert "cannot be cancelled" in response.content.decode()


def test_a_customers_order_is_shown_to_and_cancelled_by_the_customer_only(
    site: Client, user: User, order: Order
) -> None:
    Order.objects.update(customer=user)
    pages = [order.get_absolute_url(), f"{order.get_absolute_url()}state.json"]
    for visitor in (None, User.objects.create_user("eve")):
        if visitor:
            site.force_login(visitor)
        assert [site.get(page).status_code for page in pages] == [403, 403]
        assert site.post(f"{order.get_absolute_url()}cancel").status_code == 403
    assert Order.objects.get().state == Order.State.PENDING
    site.force_login(user)
    assert [site.get(page).status_code for page in pages] == [200, 200]
    site.post(f"{order.get_absolute_url()}cancel")
    assert Order.objects.get().state == Order.State.CANCELLED


def test_a_row_without_an_owner_is_nobodys_but_staffs(rf: RequestFactory, admin: User, db: None) -> None:
    report = Report.objects.create(first_day=timezone.now().date(), days=1)
    request = rf.get("/")
    for visitor in (AnonymousUser(), User.objects.create_user("eve")):
        request.user = visitor
        with pytest.raises(PermissionDenied):
            own_or_403(request, Report, report.reference)
    request.user = admin
    assert own_or_403(request, Report, report.reference) == report


@pytest.mark.parametrize(
    ("page", "limit"),
    [
        ("/register/", 20),
        ("/contact/", 20),
        ("/", 60),
    ],
)
def test_forms_are_taken_so_often_a_minute_from_one_address(
    site: Client, db: None, page: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    visitors = [{"x-forwarded-for": "198.51.100.7"}, {"x-forwarded-for": "198.51.100.7, 203.0.113.9"}]
    answers = [site.post(page, {}, headers=visitors[0]).status_code for _ in range(limit + 1)]
    assert 429 not in answers[:-1]
    assert answers[-1] == 429
    assert site.get(page, headers=visitors[0]).status_code == 200
    assert site.post(page, {}, headers=visitors[1]).status_code != 429, "another address, whatever it claims to be"


def test_a_site_without_its_cache_takes_forms(site: Client, db: None, settings: Settings) -> None:
    settings.CACHES = configured.CACHES | {
        "default": configured.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:9"}
    }
    assert {site.post("/contact/", {"name": ""}).status_code for _ in range(21)} == {422}


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("10.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("", "127.0.0.1"),
        ("unix:", "unix:"),
    ],
)
def test_a_visitor_is_counted_by_what_the_proxy_saw(rf: RequestFactory, forwarded: str, expected: str) -> None:
    assert address(rf.get("/", headers={"x-forwarded-for": forwarded})) == expected


# Bad requests


def test_an_unknown_order_is_not_found(site: Client, db: None) -> None:
    response = site.get(f"/orders/{uuid.uuid4()}/")
    assert response.status_code == 404
    assert "There is nothing at this address" in response.content.decode()


def test_a_forged_form_is_refused_and_does_nothing(product: Product) -> None:
    response = Client(enforce_csrf_checks=True).post("/", order_form(product))
    assert response.status_code == 403
    assert "not sent from this site" in response.content.decode()
    assert not Order.objects.exists()


def test_a_body_larger_than_forms_are_is_refused(site: Client, product: Product) -> None:
    response = site.post("/", order_form(product, extra="x" * 1_100_000))
    assert response.status_code == 413
    assert "larger than this page accepts" in response.content.decode()


def test_a_foreign_host_is_refused(site: Client, db: None) -> None:
    response = site.get("/", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "malformed" in response.content.decode()


def test_an_error_of_ours_has_a_page_without_details(site: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payments.views.OrderForm", broken)
    response = site.get("/")
    assert response.status_code == 500
    assert "not your fault" in response.content.decode()
    assert "password" not in response.content.decode()


def test_a_database_that_is_away_is_asked_once_for_a_page(user_site: Client) -> None:
    def refuse(*args: object) -> None:
        asked.append(1)
        raise OperationalError("no connection")

    user_site.get("/")
    asked: list[int] = []
    with connection.execute_wrapper(refuse):
        response = user_site.get("/")
    assert (response.status_code, len(asked)) == (500, 1)
    assert "not your fault" in response.content.decode()


def test_a_wrong_method_is_refused(site: Client, order: Order) -> None:
    assert site.get(f"{order.get_absolute_url()}cancel").status_code == 405


@pytest.mark.parametrize("page", ["/images/", "/documents/", "/reports/", "/tasks/"])
def test_pages_with_personal_work_need_a_user(site: Client, db: None, page: str) -> None:
    assert site.get(page)["Location"] == f"/login/?next={page}"


@pytest.mark.parametrize("page", ["/", "/login/", "/register/", "/contact/"])
def test_public_pages_need_nobody_and_no_script_in_the_page(site: Client, db: None, page: str) -> None:
    response = site.get(page)
    assert response.status_code == 200
    content = response.content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", content) == []
    assert " style=" not in content
    assert "http://" not in content.replace("http://www.w3.org", "")
