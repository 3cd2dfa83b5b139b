from django import forms
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.models import User


class RegistrationForm(BaseUserCreationForm[User]):
    email = forms.EmailField()

    class Meta:
        model = User
        fields = ("username", "email")
