"""The telegrams of our meters: eight bytes of the meter's number, then four of what it has counted, in kWh."""

import struct


def decode(telegram: bytes) -> tuple[str, int]:
    """The meter's number in hexadecimal, and its kilowatt hours.

    Raises:
        ValueError: it is no telegram.
    """
    try:
        number, kilowatt_hours = struct.unpack(">8sI", telegram)
    except struct.error as error:
        raise ValueError(f"no telegram: {telegram.hex()}") from error
    return number.hex(), kilowatt_hours
