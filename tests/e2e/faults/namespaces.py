# SPDX-License-Identifier: Apache-2.0
"""Mounts and network links of a test's own: gone with its processes, however it ends.

The test starts itself again inside new namespaces. It needs root, or a kernel that lets anybody have namespaces.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # where the tools are that a user does not always see
SKIPPED = 77  # ctest knows it as "skipped"
_INSIDE = "FAULTS_NAMESPACE"  # not FIELDGATE_..., which the gateway takes for its own


def skip(why: str) -> None:
    print(f"SKIPPED: {why}")
    sys.exit(SKIPPED)


def enter(*, network: bool) -> None:
    """Returns inside; does not return where there is no such thing."""
    if os.environ.get(_INSIDE):
        if network:
            run("ip", "link", "set", "lo", "up")
        return
    missing = [tool for tool in ("ip", "nft") if network and shutil.which(tool, path=PATH) is None]
    if missing:
        skip(f"there is no {' and no '.join(missing)}")
    flags = "-mn" if network else "-m"
    options = [flags] if os.geteuid() == 0 else ["-Ur", flags]
    tried = subprocess.run(["unshare", *options, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True,
                           check=False)
    if tried.returncode != 0:
        skip(f"this needs root, or namespaces for everybody: {tried.stderr.strip()}")
    sys.stdout.flush()
    os.environ.update({_INSIDE: "1", "PATH": PATH})
    # In place of this process, so that whoever ends it ends everything.
    os.execvp("unshare", ["unshare", *options, sys.executable, *sys.argv])


def run(*command) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")


@contextlib.contextmanager
def small_disk(where: pathlib.Path, mib: int):
    """A file system of its own size at `where`, a folder yet to be made."""
    where.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", where)
    try:
        yield
    finally:
        run("umount", "-l", where)


class FarSide:
    """A second network namespace, joined to this one by a link that can swallow packets.

    Here: 10.77.0.1. There: 10.77.0.2.
    """

    HERE, THERE = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        self.holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "-n", "sh", "-c", "echo; exec sleep inf"],
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()  # it has its namespace
        self.wrap = ("nsenter", "-t", str(self.holder.pid), "-n")
        run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", self.holder.pid)
        run("ip", "addr", "add", f"{self.HERE}/24", "dev", "here")
        run("ip", "link", "set", "here", "up")
        for command in (("ip", "addr", "add", f"{self.THERE}/24", "dev", "there"), ("ip", "link", "set", "there", "up"),
                        ("ip", "link", "set", "lo", "up")):
            run(*self.wrap, *command)
        for side in ((), self.wrap):
            run(*side, "nft", "add table inet faults; add chain inet faults in { type filter hook input priority 0; }")

    def cut(self, *ports: int) -> None:
        """What goes to or comes from these ports vanishes on the way, both ways; nobody is told."""
        rules = "; ".join(f"add rule inet faults in tcp {direction} {port} iifname != lo drop"
                          for port in ports for direction in ("sport", "dport"))
        for side in ((), self.wrap):
            run(*side, "nft", rules)

    def heal(self) -> None:
        for side in ((), self.wrap):
            run(*side, "nft", "flush chain inet faults in")

    def end(self) -> None:
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
