"""A private package index, release commands."""

from __future__ import annotations

from visitor import Visit, Wait


def test_meters_understands_telegrams_by_a_private_package(visit: Visit, wait_until: Wait) -> None:
    """The tariffs are a release command's, the cache's table another's."""
    meters = visit("meters")
    sent = bytes.fromhex("00000000deadbeef") + (120).to_bytes(4, "big")
    assert meters.session.post(f"{meters.address}/telegrams/", data=sent, timeout=30).status_code == 202
    assert wait_until(lambda: "120 kWh<td>3720 cents (day)" in meters.text("/"))
    assert "Last heard of: 00000000deadbeef" in meters.text("/")
