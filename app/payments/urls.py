from django.urls import path

from payments import views

urlpatterns = [
    path("", views.home, name="home"),
    path("orders/<uuid:reference>/", views.order, name="order"),
    path("orders/<uuid:reference>/state.json", views.order_state, name="order-state"),
    path("orders/<uuid:reference>/cancel", views.cancel, name="order-cancel"),
]
