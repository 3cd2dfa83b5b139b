from core.forms import OnceForm
from django import forms
from inventory.models import Product


class ProductField(forms.ModelChoiceField[Product]):
    def label_from_instance(self, obj: Product) -> str:
        return f"{obj.name} (€ {obj.euros})"


class OrderForm(OnceForm):
    product = ProductField(Product.objects.all(), empty_label=None)
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)
