# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a Containerfile where there is no container engine: each stage in a root of debootstrap's.

What it knows: ARG, FROM ... AS, ENV, WORKDIR, COPY [--from], RUN, LABEL, USER, EXPOSE, STOPSIGNAL, HEALTHCHECK,
ENTRYPOINT, CMD; shell form alone for RUN. Anything else is an error, rather than left out. Needs root.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field

MIRROR = "http://deb.debian.org/debian"


class Problem(Exception):
    pass


@dataclass
class Stage:
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Image:
    """What a stage has come to."""

    root: pathlib.Path
    environment: dict[str, str]
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first FROM, and the stages."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        word, rest = word.upper(), rest.strip()
        if word == "FROM":
            found = re.fullmatch(r"\S+(?:\s+AS\s+(\S+))?", rest, re.IGNORECASE)
            if not found:
                raise Problem(f"FROM {rest}: not understood")
            stages.append(Stage(found[1] or str(len(stages))))
        elif stages:
            stages[-1].steps.append((word, rest))
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            raise Problem(f"{word} before FROM")
    return arguments, stages


def expand(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def words_of(text: str) -> list[str]:
    return json.loads(text) if text.startswith("[") else ["/bin/sh", "-c", text]


def chroot(root: pathlib.Path, command: list[str], environment: dict[str, str], directory: str = "/") -> None:
    """With /proc, /dev and name service of the host, for as long as it takes."""
    script = ('mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" /bin/sh -c '
              "'cd \"$0\" && exec \"$@\"' \"$@\"")
    done = subprocess.run(["unshare", "--mount", "/bin/sh", "-c", script, str(root), directory, *command], check=False,
                          env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **environment})
    if done.returncode != 0:
        raise Problem(f"{shlex.join(command)}: exit status {done.returncode}")


def bootstrap(root: pathlib.Path, cache: pathlib.Path) -> None:
    """A minimal Debian 12; unpacked from `cache`, if it was made before."""
    archive = cache / "bookworm.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = cache / "bookworm.new"
        shutil.rmtree(fresh, ignore_errors=True)
        done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(fresh), MIRROR], check=False,
                              stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Problem("debootstrap failed: is the mirror to be reached?")
        (fresh / "etc/apt/sources.list").write_text(
            f"deb {MIRROR} bookworm main\ndeb {MIRROR} bookworm-updates main\n"
            f"deb {MIRROR}-security bookworm-security main\n")
        (fresh / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (fresh / "usr/sbin/policy-rc.d").chmod(0o755)
        subprocess.run(["tar", "-C", fresh, "-cf", f"{archive}.new", "."], check=True)
        os.rename(f"{archive}.new", archive)
        shutil.rmtree(fresh)
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", root, "-xf", archive], check=True)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)


def copy_context(source: pathlib.Path, to: pathlib.Path) -> None:
    """What git would commit of `source`; where git does not know it, as in a copy made by this, all of it. An engine
    copies what .dockerignore lets it, which comes to the same."""
    to.mkdir(parents=True, exist_ok=True)
    known = (source / ".git").exists()
    # Whoever owns it: CI checks out as somebody else.
    git = ["git", "-C", source, "-c", f"safe.directory={source.resolve()}"]
    listed = subprocess.run([*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True,
                            capture_output=True).stdout if known else b"."
    archive = subprocess.run(["tar", "-C", source, "--null", "--ignore-failed-read", "-T", "-", "-c"], input=listed,
                             check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-C", to, "-x"], input=archive, check=True)


class Builder:
    def __init__(self, context: pathlib.Path, work: pathlib.Path, cache: pathlib.Path, arguments: dict[str, str]):
        self.context, self.work, self.cache, self.arguments = context, work, cache, arguments
        self.roots: dict[str, pathlib.Path] = {}

    def build(self, given: dict[str, pathlib.Path], say) -> Image:
        """The last stage. `given`: roots of stages that are not to be built, by their names."""
        top, stages = parse((self.context / "Containerfile").read_text())
        image = None
        for stage in stages:
            if stage.name in given:
                self.roots[stage.name] = given[stage.name]
                continue
            say(f"stage {stage.name}")
            image = self._stage(stage, {**top, **self.arguments}, say)
            self.roots[stage.name] = image.root
        if image is None:
            raise Problem("there is no stage to build")
        return image

    def _stage(self, stage: Stage, known: dict[str, str], say) -> Image:
        image = Image(self.work / stage.name, {})
        bootstrap(image.root, self.cache)
        values: dict[str, str] = {}
        directory = "/"
        for word, rest in stage.steps:
            scope = {**values, **image.environment}
            if word == "ARG":
                name, _, value = rest.partition("=")
                values[name] = known.get(name, value)
            elif word == "ENV":
                image.environment.update(part.split("=", 1) for part in shlex.split(expand(rest, scope)))
            elif word == "LABEL":
                image.labels.update(part.split("=", 1) for part in shlex.split(expand(rest, scope)))
            elif word == "WORKDIR":
                directory = rest
                (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                self._copy(image.root, directory, expand(rest, scope))
            elif word == "RUN":
                say(f"RUN {rest[:100]}")
                chroot(image.root, ["/bin/sh", "-c", rest], scope, directory)
            elif word == "USER":
                image.user = rest
            elif word == "ENTRYPOINT":
                image.entrypoint = words_of(rest)
            elif word == "CMD":
                image.command = words_of(rest)
            elif word == "HEALTHCHECK":
                image.healthcheck = words_of(rest.partition("CMD ")[2])
            elif word not in ("EXPOSE", "STOPSIGNAL"):
                raise Problem(f"{word}: not understood")
        return image

    def _copy(self, root: pathlib.Path, directory: str, rest: str) -> None:
        parts = rest.split()
        source_root = self.context
        if parts[0].startswith("--from="):
            source_root = self.roots[parts.pop(0).removeprefix("--from=")]
        source, target = parts
        to = root / (target if target.startswith("/") else f"{directory}/{target}").lstrip("/")
        if source == ".":
            copy_context(source_root, to)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source_root / source.lstrip("/"), to)
