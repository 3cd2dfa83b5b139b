import requests
from django.conf import settings
from django.utils import timezone

from inventory.models import Product


def sync() -> int:
    """Reads the stock of every product from the inventory service; returns how many products it knows.

    Raises requests.RequestException if the service gives no usable answer.
    """
    response = requests.get(f"{settings.INVENTORY_URL}/stock", timeout=settings.DOWNSTREAM_TIMEOUT)
    response.raise_for_status()
    stock: dict[str, int] = response.json()
    products = list(Product.objects.filter(sku__in=stock))
    for product in products:
        product.stock = stock[product.sku]
        product.synced_at = timezone.now()
    Product.objects.bulk_update(products, ["stock", "synced_at"])
    return len(products)
