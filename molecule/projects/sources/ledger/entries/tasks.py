from celery import shared_task
from django.db.models import Sum

from .models import Closing, Entry, Statement


@shared_task
def draw_up_statement(pk):
    statement = Statement.objects.get(pk=pk)
    total = Entry.objects.filter(account=statement.account).aggregate(Sum("amount"))["amount__sum"]
    statement.balance = total or 0
    statement.save()
    return str(statement.balance)


@shared_task
def close_the_books():
    Closing.objects.create(entries=Entry.objects.count())
