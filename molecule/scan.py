"""Which TCP ports of a server answer a machine in its network: all 65,535 of them are asked."""

from __future__ import annotations

import json
from collections.abc import Iterable

from testinfra.host import Host

# Runs on the machine that asks, with nothing but Debian's Python: a SYN to every port, three times, for one may get lost. It ends what was
# not answered by itself: else the machine that carries these packets would keep every one of them in mind for two minutes.
PROGRAM = """
import json, select, socket, struct, sys, time

SYN, RST, SYN_ACK, OWN_PORT, SEQUENCE = 0x02, 0x04, 0x12, 61000, 1000
server = sys.argv[1]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
    route.connect((server, 9))
    own = route.getsockname()[0]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE if hasattr(socket, "SO_RCVBUFFORCE") else 33, 16 << 20)
raw.setblocking(False)
found = set()

def packet(port, flags, sequence):
    header = struct.pack("!HHLLBBHHH", OWN_PORT, port, sequence, 0, 5 << 4, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(own) + socket.inet_aton(server) + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    total = sum(struct.unpack("!16H", pseudo + header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~total & 0xFFFF) + header[18:]

def listen(seconds):
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and select.select([raw], [], [], left)[0]:
        data, (address, _) = raw.recvfrom(65535)
        at = (data[0] & 15) * 4
        port, to, _, _, _, flags = struct.unpack("!HHLLBB", data[at : at + 14])
        if address == server and to == OWN_PORT and flags & SYN_ACK == SYN_ACK:
            found.add(port)

def send(ports, flags, sequence):
    for number, port in enumerate(ports):
        raw.sendto(packet(port, flags, sequence), (server, 0))
        if number % 200 == 0:
            listen(0.002)

for _ in range(3):
    send([port for port in range(1, 65536) if port not in found], SYN, SEQUENCE)
    listen(1)
send(range(1, 65536), RST, SEQUENCE + 1)
print(json.dumps(sorted(found)))
"""


def open_ports(stranger: Host, address: str) -> set[int]:
    """The ports of an IPv4 address that take a connection of the stranger's."""
    return set(json.loads(stranger.check_output("python3 -c %s %s", PROGRAM, address)))


def open_ports_of(stranger: Host, addresses: Iterable[str]) -> dict[str, set[int]]:
    """The same for several servers, one after the other, by address."""
    return {address: open_ports(stranger, address) for address in addresses}
