from django.urls import path

from crm import views

urlpatterns = [path("contact/", views.contact, name="contact")]
