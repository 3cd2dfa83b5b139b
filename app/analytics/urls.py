from django.urls import path

from analytics import views

urlpatterns = [
    path("reports/", views.reports, name="reports"),
    path("reports/<uuid:reference>/", views.report, name="report"),
    path("reports/<uuid:reference>/cancel", views.cancel, name="report-cancel"),
]
