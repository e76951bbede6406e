# SPDX-License-Identifier: Apache-2.0
"""Whose a heap is: what massif writes down, by the function that asked for the memory, or who that was called by."""

import functools
import pathlib
import re
import subprocess
import time

from stage import demo

MASSIF = ("valgrind", "-q", "--tool=massif", "--threshold=0.0", "--depth=12", "--massif-out-file={folder}/massif")
# The first that fits any frame of a stack is the owner.
OWNERS = (("openssl", r"in \S*lib(ssl|crypto)\.so|\bSSL_|\bCRYPTO_|\bEVP_"),
          ("last_values", r"LastValues::"),
          ("fleet_index", r"FleetIndex|fleet_inbox|FleetInbox|FleetListener|TextShelf"),
          ("store", r"sqlite3"),
          ("registry", r"control::Registry"),
          ("control", r"control::"),
          ("home", r"Ownership|DeviceState|net::Shard::(claim|apply|grant|admitted|release)"),
          ("presence", r"[Pp]resence"),
          ("session", r"net::(Shard|DeviceSession|Listener)|boost::asio|WsCodec"),
          ("log_and_lanes", r"uplink::|spool::|mqtt::|net::Ingress|mosquitto"))
NODE = re.compile(r"^( *)n(\d+): (\d+) (.*)$")


@functools.cache
def rank(frame: str) -> int:
    return next((i for i, (_, pattern) in enumerate(OWNERS) if re.search(pattern, frame)), len(OWNERS))


def snapshot(pid: int, file: pathlib.Path) -> str:
    """The heap of a process under massif, now."""
    file.unlink(missing_ok=True)
    subprocess.run(["vgdb", f"--pid={pid}", "detailed_snapshot", str(file)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not file.is_file():
        if time.monotonic() > deadline:
            raise demo.Failure("massif gave no snapshot")
        time.sleep(0.1)
    return file.read_text(errors="replace")


def by_owner(text: str) -> dict[str, int]:
    """Bytes that were asked for, by owner; `overhead`: what the allocator needs for itself, as massif reckons."""
    sums = {name: 0 for name, _ in OWNERS} | {"other": 0}
    stack: list[int] = []  # the best owner so far, by depth
    for line in text.splitlines():
        found = NODE.match(line)
        if not found:
            continue
        depth, children, size, where = len(found[1]), int(found[2]), int(found[3]), found[4]
        del stack[depth:]
        stack.append(min([rank(where), *stack[-1:]]))
        if children == 0 and depth > 0:
            sums[OWNERS[stack[-1]][0] if stack[-1] < len(OWNERS) else "other"] += size
    sums["overhead"] = sum(int(size) for size in re.findall(r"^mem_heap_extra_B=(\d+)", text, re.M)[-1:])
    return sums
