from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render

from .models import Closing, Entry, Statement
from .tasks import draw_up_statement


def index(request):
    if request.method == "POST":
        Entry.objects.create(account=request.POST["account"], amount=request.POST["amount"])
        return redirect("index")
    context = {"entries": Entry.objects.all()[:50], "closing": Closing.objects.last()}
    return render(request, "entries/index.html", context)


def draw_up(request):
    statement = Statement.objects.create(account=request.POST["account"])
    transaction.on_commit(lambda: draw_up_statement.delay(statement.pk))
    return redirect("statement", pk=statement.pk)


def statement(request, pk):
    return render(request, "entries/statement.html", {"statement": get_object_or_404(Statement, pk=pk)})
