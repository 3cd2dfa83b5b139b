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


@shared_task
def daily_report() -> int:
    """Queues the report over yesterday."""
    yesterday = timezone.now().date() - datetime.timedelta(days=1)
    return services.request_daily_report(day=yesterday).pk
