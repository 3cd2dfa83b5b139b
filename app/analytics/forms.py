from core.forms import OnceForm
from django import forms


class ReportForm(OnceForm):
    days = forms.TypedChoiceField(choices=[(30, "30 days"), (90, "90 days"), (365, "a year")], coerce=int)
