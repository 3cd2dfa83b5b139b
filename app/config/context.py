from django.http import HttpRequest


def pages(request: HttpRequest) -> dict[str, object]:
    """The site's navigation: names of views and their labels; the second list is staff's."""
    return {
        "pages": [("home", "Order"), ("images", "Pictures"), ("documents", "Documents"), ("contact", "Contact")],
        "staff_pages": [("reports", "Reports"), ("tasks", "Tasks"), ("admin:index", "Admin")],
    }
