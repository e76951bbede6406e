# SPDX-License-Identifier: Apache-2.0
"""Whether two roots are the same, byte by byte; their time stamps apart, which the builder of an image sets."""

import filecmp
import os
import pathlib
import stat
from typing import Iterator

# Mount points of whoever runs the steps, and what it writes for its own network.
NOT_OF_THE_IMAGE = {"proc", "sys", "dev", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"}


def entries(root: pathlib.Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        relative = pathlib.Path(folder).relative_to(root)
        folders[:] = [name for name in folders if str(relative / name) not in NOT_OF_THE_IMAGE]
        yield from (str(relative / name) for name in folders + files if str(relative / name) not in NOT_OF_THE_IMAGE)


def difference(one: pathlib.Path, other: pathlib.Path) -> str:
    """Of two files, folders or links that are there; empty: none."""
    first, second = one.lstat(), other.lstat()
    if stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
        return "of another type"
    if stat.S_ISLNK(first.st_mode):
        return "" if os.readlink(one) == os.readlink(other) else "points elsewhere"
    if first.st_mode != second.st_mode:
        return f"mode {stat.S_IMODE(first.st_mode):o} and {stat.S_IMODE(second.st_mode):o}"
    if (first.st_uid, first.st_gid) != (second.st_uid, second.st_gid):
        return f"owner {first.st_uid}:{first.st_gid} and {second.st_uid}:{second.st_gid}"
    if stat.S_ISREG(first.st_mode) and not filecmp.cmp(one, other, shallow=False):
        return f"other contents: {first.st_size} and {second.st_size} bytes"
    return ""


def differences(one: pathlib.Path, other: pathlib.Path) -> tuple[int, list[str]]:
    """How many files, folders and links were compared, and what is not the same."""
    left, right = set(entries(one)), set(entries(other))
    found = [f"{path}: only in the first" for path in sorted(left - right)]
    found += [f"{path}: only in the second" for path in sorted(right - left)]
    for path in sorted(left & right):
        told = difference(one / path, other / path)
        if told:
            found.append(f"{path}: {told}")
    return len(left | right), found
