from core.throttle import throttled
from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/login/", throttled(10)(admin.site.login)),
    path("admin/", admin.site.urls),
    *(path("", include(f"{app}.urls")) for app in ("core", "accounts", "analytics", "crm", "media", "payments")),
]
if settings.DEBUG:  # elsewhere the proxy serves uploads
    urlpatterns.extend(static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT))
handler400 = "core.views.bad_request"
handler403 = "core.views.forbidden"
handler404 = "core.views.not_found"
handler500 = "core.views.server_error"
