# SPDX-License-Identifier: Apache-2.0
"""The image as a container engine makes it: buildah, without a registry, on the base that debootstrap has made."""

import pathlib
import shutil
import subprocess

from containerfile import Problem

BASE = "localhost/debian:bookworm-slim"
# Of all files that it makes and layers that it writes: 2026-01-01.
TIMESTAMP = 1767225600


def why_not() -> str:
    return "" if shutil.which("buildah") else "buildah is not installed"


class Engine:
    """Keeps everything of its own in `work`; close() lets go of it."""

    def __init__(self, work: pathlib.Path):
        self.storage = ["--storage-driver", "vfs", "--root", work / "storage", "--runroot", work / "run"]

    def run(self, *command, quiet: bool = True) -> str:
        words = [str(word) for word in ("buildah", *self.storage, *command)]
        done = subprocess.run(words, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE if quiet else None)
        if done.returncode != 0:
            raise Problem(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr or ''}")
        return done.stdout.strip()

    def take_base(self, archive: pathlib.Path) -> None:
        container = self.run("from", "scratch")
        self.run("add", container, archive, "/")
        self.run("commit", "--timestamp", TIMESTAMP, container, BASE)
        self.run("rm", container)

    def build(self, context: pathlib.Path) -> pathlib.Path:
        """The root of the image that the context's Containerfile makes."""
        self.run("bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "--timestamp", TIMESTAMP,
                 "--build-arg", f"BASE={BASE}", "--file", context / "Containerfile", "--tag", "localhost/fieldgate", context,
                 quiet=False)
        return pathlib.Path(self.run("mount", self.run("from", "--pull-never", "localhost/fieldgate")))

    def close(self) -> None:
        subprocess.run([str(word) for word in ("buildah", *self.storage, "umount", "--all")], check=False, capture_output=True)
