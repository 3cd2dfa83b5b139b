from django.urls import path

from core import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.fleet_metrics, name="metrics"),
    path("metrics/web", views.web_metrics, name="web-metrics"),
    path("tasks/", views.tasks, name="tasks"),
]
