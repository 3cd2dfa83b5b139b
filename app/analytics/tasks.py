import datetime

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from core import outbox
from core.rowtask import RowTask
from django.db import OperationalError
from django.utils import timezone

from analytics import services
from analytics.models import Report


@shared_task(base=RowTask)
def generate_reports(report_id: int) -> str:
    return generate(report_id)


@shared_task
def daily_report() -> int:
    """Makes the report over yesterday, in the queue for what nobody waits for."""
    yesterday = timezone.now().date() - datetime.timedelta(days=1)
    report = services.add_daily_report(day=yesterday)
    generate(report.pk)
    return report.pk


def generate(report_id: int) -> str:
    """Works until the report is done, or its time is over."""
    try:
        return services.run(report_id=report_id)
    except SoftTimeLimitExceeded:
        report = Report.objects.get(pk=report_id)
        report.move(sent_at=timezone.now())
        outbox.send(report)  # goes on where it stopped
        return "continued"
    except OperationalError:
        raise  # the database is away: the sweep sends the rest
    except Exception as error:
        services.fail(report_id=report_id, error=error)
        raise
