"""What an operator runs: schedules, the administrator, the admin pages."""

import io

import pytest
from celery import current_app
from crm.models import Lead
from django.apps import apps
from django.contrib.admin import site as registry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from newsletters.models import Newsletter, Subscriber
from payments.models import Order, Receipt

PASSWORD = "correct horse battery"


def test_the_schedules_are_created_once_and_name_real_tasks(db: None) -> None:
    out = [io.StringIO(), io.StringIO()]
    for output in out:
        call_command("ensure_schedules", stdout=output)
    assert (
        out[0].getvalue().count("created") == PeriodicTask.objects.exclude(name="celery.backend_cleanup").count() == 5
    )
    assert out[1].getvalue() == ""
    assert {task.task for task in PeriodicTask.objects.all()} <= set(current_app.tasks)


@pytest.mark.parametrize(
    ("task", "hour", "minute"),
    [("accounts.tasks.cleanup_sessions", "3", "30"), ("analytics.tasks.daily_report", "6", "0")],
)
def test_daily_work_has_its_hour(db: None, task: str, hour: str, minute: str) -> None:
    call_command("ensure_schedules", stdout=io.StringIO())
    crontab = PeriodicTask.objects.get(task=task).crontab
    assert (crontab.hour, crontab.minute, str(crontab.timezone)) == (hour, minute, "UTC")


def test_a_schedule_the_admin_changed_stays(db: None) -> None:
    call_command("ensure_schedules", stdout=io.StringIO())
    PeriodicTask.objects.filter(name="Daily report").update(enabled=False)
    call_command("ensure_schedules", stdout=io.StringIO())
    assert not PeriodicTask.objects.get(name="Daily report").enabled


def test_a_schedule_whose_task_was_renamed_is_mended_and_keeps_its_times(db: None) -> None:
    call_command("ensure_schedules", stdout=io.StringIO())
    every = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.MINUTES)
    PeriodicTask.objects.filter(name="Send stuck work again").update(task="core.tasks.old_name", interval=every)
    output = io.StringIO()
    call_command("ensure_schedules", stdout=output)
    assert output.getvalue() == "mended: Send stuck work again\n"
    mended = PeriodicTask.objects.get(name="Send stuck work again")
    assert (mended.task, mended.interval) == ("core.tasks.resend_stuck_work", every)


@pytest.mark.django_db(transaction=True)  # the scheduler opens a connection of its own
def test_beat_reads_the_schedules() -> None:
    call_command("ensure_schedules", stdout=io.StringIO())
    schedule = DatabaseScheduler(app=current_app, lazy=True).schedule
    assert "Send stuck work again" in schedule


def ensure_admin(monkeypatch: pytest.MonkeyPatch, password: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    output = io.StringIO()
    call_command("ensure_admin", "root", stdout=output)
    return output.getvalue().strip()


def test_the_administrator_is_created_once(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [ensure_admin(monkeypatch, PASSWORD) for _ in range(2)] == ["created", "unchanged"]
    assert ensure_admin(monkeypatch, "another one") == "changed"
    assert User.objects.get().check_password("another one")


def test_the_administrators_password_may_come_from_the_environment(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
    assert ensure_admin(monkeypatch, "") == "created"
    assert User.objects.get().check_password(PASSWORD)


def test_an_administrator_without_a_password_is_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="password"):
        ensure_admin(monkeypatch, "")
    assert not User.objects.exists()


KINDS = sorted(f"{model._meta.app_label}/{model._meta.model_name}" for model in registry._registry)
# What people make by hand; everything else is the site's.
MADE_BY_HAND = {
    *("auth/group", "auth/user", "inventory/product", "newsletters/newsletter", "newsletters/subscriber"),
    *(f"django_celery_beat/{kind}" for kind in ("clockedschedule", "crontabschedule", "intervalschedule")),
    *("django_celery_beat/periodictask", "django_celery_beat/solarschedule"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_admin_shows_each_kind_of_row_and_offers_to_add_what_people_make(
    site: Client, admin: User, kind: str
) -> None:
    site.force_login(admin)
    page = site.get(f"/admin/{kind}/")
    assert page.status_code == 200
    assert (f"/admin/{kind}/add/" in page.content.decode()) is (kind in MADE_BY_HAND)
    status = 200 if kind in MADE_BY_HAND else 403
    assert site.get(f"/admin/{kind}/add/").status_code == status
    assert site.post(f"/admin/{kind}/add/").status_code == status, "an empty form is explained"


@pytest.mark.parametrize("kind", KINDS)
def test_staff_who_may_only_look_can_do_nothing_else_in_the_admin(
    staff_site: Client, user: User, rf: RequestFactory, kind: str
) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    request = rf.get("/")
    request.user = User.objects.get(pk=user.pk)
    model_admin = registry.get_model_admin(apps.get_model(kind.replace("/", ".")))
    assert model_admin.get_actions(request) == {}
    assert not any(model_admin.get_model_perms(request)[right] for right in ("add", "change", "delete"))
    assert staff_site.get(f"/admin/{kind}/").status_code == 200
    assert staff_site.get(f"/admin/{kind}/add/").status_code == 403


def test_staff_who_may_only_look_have_no_actions(staff_site: Client, user: User, order: Order) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    newsletter = Newsletter.objects.create(subject="Winter soups", body="Come in.")
    Subscriber.objects.create(email="reader@example.org")
    Lead.objects.create(name="Alan", email="alan@example.org", state=Lead.State.FAILED)
    rows = {"newsletters/newsletter": "start", "crm/lead": "try_again", "payments/order": "try_again"}
    for path, action in rows.items():
        page = f"/admin/{path}/"
        assert staff_site.get(page).status_code == 200
        assert f'value="{action}"' not in staff_site.get(page).content.decode()
    staff_site.post("/admin/newsletters/newsletter/", {"action": "start", "_selected_action": [newsletter.pk]})
    newsletter.refresh_from_db()
    assert newsletter.started_at is None


def test_a_receipt_can_be_neither_altered_nor_deleted(site: Client, admin: User, order: Order) -> None:
    receipt = Receipt.objects.create(order=order, charge="ch_1", amount=1300)
    site.force_login(admin)
    page = f"/admin/payments/receipt/{receipt.pk}/"
    assert site.post(f"{page}change/", {"charge": "ch_2"}).status_code == 403
    for path in (page, f"/admin/payments/order/{order.pk}/"):
        assert site.post(f"{path}delete/", {"post": "yes"}).status_code == 403
    receipt.refresh_from_db()
    assert receipt.charge == "ch_1"
