import requests
from django.conf import settings
from django.utils import timezone

from inventory.models import Product

DEMO = [
    ("carrot-soup", "Carrot and ginger soup", 650),
    ("onion-stew", "Onion stew with cider", 980),
    ("bean-chili", "Three bean chili", 890),
    ("lentil-dal", "Lentil dal", 720),
    ("unlucky-pie", "Unlucky pie (the gateway declines it)", 1302),
]


def seed_demo() -> list[Product]:
    """Creates the demo's products that are missing; returns them."""
    made = [
        Product.objects.get_or_create(sku=sku, defaults={"name": name, "price": price}) for sku, name, price in DEMO
    ]
    return [product for product, created in made if created]


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
