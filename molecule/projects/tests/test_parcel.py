"""An installed package without a result backend."""

from __future__ import annotations

from visitor import Visit, Wait


def test_parcel_is_tracked_without_any_result_backend(visit: Visit, wait_until: Wait) -> None:
    """An installed package, whose own command migrates and adds the carrier."""
    parcel = visit("parcel")
    found = parcel.send("/", {"number": "AT-7", "carrier": "Blue Van"})
    assert wait_until(lambda: "on its way with Blue Van" in parcel.text(found))
