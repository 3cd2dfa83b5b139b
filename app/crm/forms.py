from core.forms import OnceForm
from django import forms


class LeadForm(OnceForm):
    name = forms.CharField(max_length=100)
    email = forms.EmailField()
    message = forms.CharField(max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 4}))
