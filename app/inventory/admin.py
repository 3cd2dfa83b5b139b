from typing import Any

from django.contrib import admin, messages
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from kombu.exceptions import OperationalError

from inventory.models import Product
from inventory.tasks import sync_inventory


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin[Product]):
    list_display = ("name", "sku", "euros", "stock", "synced_at")

    def save_model(self, request: HttpRequest, obj: Product, form: ModelForm[Product], change: bool) -> None:
        """Reads the stock at once. A message that is lost does no harm: Beat has it read every half hour."""
        super().save_model(request, obj, form, change)
        sync_inventory.delay_on_commit()  # type: ignore[attr-defined]  # its stub knows no Django

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except OperationalError:  # the broker is away, and the product is saved
            messages.warning(request, "Saved. The stock will be read later.")
            return redirect("admin:inventory_product_changelist")
