#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the tree to its own rules. Prints file:line: rule: why, and exits 1, if one is broken.

Usage: check.py [ROOT]
"""

import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Callable, Iterator

# What may be included from where: the first row whose folder a file is in counts. Each
# folder may include itself as well.
ARROWS = [
    ("gateway/core/", ("gateway/core/",)),
    ("gateway/ports/", ("gateway/core/", "gateway/ports/")),
    ("gateway/config/", ("gateway/core/",)),
    ("gateway/net/", ("gateway/core/", "gateway/ports/")),
    ("gateway/uplink/", ("gateway/core/", "gateway/ports/")),
    ("gateway/control/", ("gateway/core/", "gateway/ports/")),
    ("gateway/asio/", ()),
    ("gateway/process/", ("gateway/core/", "gateway/ports/", "gateway/net/", "gateway/uplink/", "gateway/node_state.h")),
    # The rooms that put the parts together.
    ("gateway/cli/", ("gateway/", "adapters/")),
    ("gateway/main.cc", ("gateway/", "adapters/")),
    ("gateway/serve.", ("gateway/", "adapters/")),
    ("gateway/northbound_part.", ("gateway/", "adapters/")),
    ("gateway/control_part.", ("gateway/", "adapters/")),
    ("gateway/node_state.", ("gateway/node_state.h", "gateway/core/", "gateway/ports/", "gateway/net/", "gateway/uplink/")),
    # Who is believed, shared by those who ask devices and those who ask people.
    ("adapters/jwt/", ("gateway/core/", "gateway/ports/")),
    ("adapters/identity/", ("gateway/core/", "gateway/ports/", "adapters/jwt/")),
    ("adapters/yaml/", ("gateway/core/", "gateway/ports/", "gateway/config/")),
    ("adapters/wire/", ("gateway/core/", "gateway/ports/", "fieldgate/v1/")),
    # What every lane needs: how records are written, and which of them are still open.
    ("adapters/northbound/", ("gateway/core/", "gateway/ports/", "fieldgate/v1/")),
    ("adapters/mqtt/", ("gateway/core/", "gateway/ports/", "adapters/northbound/", "fieldgate/v1/")),
    ("adapters/webhook/", ("gateway/core/", "gateway/ports/", "adapters/northbound/", "fieldgate/v1/")),
    # What every SQL engine needs: the queries, the schema, and how things are written.
    ("adapters/sqlite/", ("gateway/core/", "gateway/ports/", "adapters/store/")),
    ("adapters/postgres/", ("gateway/core/", "gateway/ports/", "adapters/store/")),
    # The live stream shows records as the lanes write them.
    ("adapters/http/", ("gateway/core/", "gateway/ports/", "adapters/northbound/", "adapters/jwt/")),
    ("adapters/", ("gateway/core/", "gateway/ports/")),
    ("tests/", ("gateway/", "adapters/", "tests/", "fieldgate/v1/")),
]

TOP_LEVEL = {
    ".ci", ".clang-format", ".clang-tidy", ".dockerignore", ".editorconfig", ".github", ".gitignore",
    "CMakeLists.txt", "CMakePresets.json", "Containerfile", "LICENSE", "README.md", "adapters", "config", "dev",
    "docs", "gateway", "helm", "proto", "tests",
}

LINES_MAX = 500

# Where a rule does not hold, and why.
EXCEPTIONS = {
    # A name look-up that hangs cannot be woken, and nobody may wait for it; such threads are counted and bounded.
    ("adapters/mqtt/connector.cc", "thread-detach"),
    ("adapters/webhook/directory.cc", "thread-detach"),
}


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    rule: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.why}"


def blanked(text: str) -> str:
    """`text` with comments and the insides of literals replaced by blanks; offsets and lines stay."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
        re.DOTALL,
    )
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


class File:
    def __init__(self, path: str, text: str, root: pathlib.Path = pathlib.Path(".")):
        self.path = path
        self.root = root
        self.text = text
        self.is_cpp = path.endswith((".h", ".cc"))
        self.is_script = path.endswith(".py") or text.startswith("#!")
        self.is_source = self.is_cpp or self.is_script or path.endswith((".proto", "CMakeLists.txt", ".cmake"))
        self.code = blanked(text) if self.is_cpp else text

    def line_at(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def find(self, pattern: str, rule: str, why: str) -> Iterator[Finding]:
        for found in re.finditer(pattern, self.code):
            yield Finding(self.path, self.line_at(found.start()), rule, why)


def includes(file: File) -> Iterator[Finding]:
    if not file.is_cpp:
        return
    allowed = next((targets for folder, targets in ARROWS if file.path.startswith(folder)), None)
    if allowed is None:
        yield Finding(file.path, 1, "include", "no rule says what this folder may include: add one to ARROWS")
        return
    own = "/".join(file.path.split("/")[:2]) + "/"
    for found in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', file.text, re.MULTILINE):
        kind, target = found.groups()
        line = file.line_at(found.start(1))
        if kind == '"':
            if not target.startswith(allowed + (own,)):
                yield Finding(file.path, line, "include", f"{file.path} must not include {target}")
        elif target.startswith(("gateway/", "adapters/", "tests/", "fieldgate/")):
            yield Finding(file.path, line, "include", f'write "{target}" in quotation marks')
        elif own == "gateway/core/" and "." in target and not target.startswith(("boost/system/", "boost/throw_exc")):
            yield Finding(file.path, line, "include", f"core knows the standard library and Boost.System, not {target}")


def capturing_lambdas(file: File) -> Iterator[Finding]:
    """GCC 12 frees the closure twice, or too early, when it is a temporary of a co_await expression."""
    if not file.is_cpp:
        return
    code = file.code
    for keyword in re.finditer(r"\bco_await\b", code):
        braces = parens = 0
        previous = " "
        at = keyword.end()
        while at < len(code):
            char = code[at]
            if char == ";" and braces == 0:
                break
            if char == "{":
                if parens < 0 and previous == ")" and braces == 0:
                    break  # the body of an if, while or for
                braces += 1
            elif char == "}":
                braces -= 1
                if braces < 0:
                    break
            elif char in "()":
                parens += 1 if char == "(" else -1
            elif char == "[" and not (previous.isalnum() or previous in "_)]["):
                closing = code.find("]", at)
                if closing > at and code[at + 1 : closing].strip() and code[at + 1] != "[":
                    yield Finding(file.path, file.line_at(at), "co_await-capture",
                                  "a capturing lambda in a co_await expression: name it first")
            if not char.isspace():
                previous = char
            at += 1


def banned(file: File) -> Iterator[Finding]:
    if not file.is_cpp:
        return
    yield from file.find(r"\bdetached\b", "detached", "nothing is detached: spawn it where it is counted and awaited")
    yield from file.find(r"(\.|->)\s*detach\s*\(\s*\)", "thread-detach", "a thread is joined by whoever started it")
    if file.path != "gateway/core/mutex.h":
        yield from file.find(
            r"\bstd::((recursive_|shared_|timed_|recursive_timed_|shared_timed_)?mutex|lock_guard|unique_lock|scoped_lock)\b",
            "std-mutex", "use Mutex of gateway/core/mutex.h, which the thread-safety analysis understands")
    if file.path.startswith("tests/unit/"):
        yield from file.find(r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(", "sleep",
                             "a unit test turns an injected clock instead of sleeping")


def unfinished(file: File) -> Iterator[Finding]:
    if file.is_source and not file.path.startswith("tests/arch/"):
        for found in re.finditer(r"\b(TODO|FIXME|XXX)\b", file.text):
            yield Finding(file.path, file.line_at(found.start()), "unfinished", f"{found.group()}: finish it or leave it out")


def heads(file: File) -> Iterator[Finding]:
    if not file.is_source:
        return
    lines = file.text.split("\n", 2)
    head = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
    if head not in ("// SPDX-License-Identifier: Apache-2.0", "# SPDX-License-Identifier: Apache-2.0"):
        yield Finding(file.path, 1, "licence", "the first line says SPDX-License-Identifier: Apache-2.0")
    if file.path.endswith(".h") and not re.search(r"^#pragma once$", file.text, re.MULTILINE):
        yield Finding(file.path, 1, "pragma-once", "a header says #pragma once")


def sizes(file: File) -> Iterator[Finding]:
    if file.is_source and file.text.count("\n") > LINES_MAX:
        yield Finding(file.path, LINES_MAX + 1, "size", f"more than {LINES_MAX} lines: split it by what it is about")


def names(file: File) -> Iterator[Finding]:
    if file.path.split("/")[0] not in TOP_LEVEL:
        yield Finding(file.path, 1, "top-level", "not one of the known top-level entries")
    if any(re.search(r"(^|[_.-])utils?([_.-]|$)", part) for part in file.path.split("/")):
        yield Finding(file.path, 1, "util", "util names nothing: call it by what it does")


def without_code(page: str) -> str:
    """`page` with what stands in code blocks blanked; lines stay."""
    return re.sub(r"^```.*?^```", lambda found: re.sub(r"[^\n]", " ", found.group()), page, flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> set[str]:
    """What a link into `page` may name: its headings, as GitHub writes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_code(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = 0
        while (name := f"{slug}-{count}" if count else slug) in found:
            count += 1
        found.add(name)
    return found


def links(file: File) -> Iterator[Finding]:
    if not file.path.endswith(".md"):
        return
    for found in re.finditer(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", without_code(file.text)):
        target, anchor = found.groups()
        if re.match(r"[a-z]+:", target):
            continue
        line = file.line_at(found.start())
        path = (file.root / file.path).parent / target if target else None
        if path and not path.exists():
            yield Finding(file.path, line, "link", f"{target} does not exist")
        elif anchor and (not path or path.suffix == ".md"):
            if anchor not in anchors(path.read_text(encoding="utf-8") if path else file.text):
                yield Finding(file.path, line, "link", f"{target} has no heading #{anchor}")


def takes_up(lists: str, test: str) -> bool:
    """Whether a target of the CMakeLists.txt that says `lists` is built of `test`: by name, by a glob, or by a variable."""
    named = {test, "*_test.cc"}  # the words that bring it with them
    for command, text in re.findall(r"(\w+)\s*\(([^()]*)\)", re.sub(r"#[^\n]*", "", lists)):
        words = text.split()
        if named.isdisjoint(words):
            continue
        match command, words:
            case ("set", [variable, *_]) | ("file", ["GLOB", variable, *_]) | ("list", ["APPEND", variable, *_]):
                named.add(f"${{{variable}}}")
            case "list", ["REMOVE_ITEM", variable, *_]:
                named.discard(f"${{{variable}}}")
            case ("fieldgate_test" | "add_executable"), _:
                return True
    return False


def built(file: File) -> Iterator[Finding]:
    """A test that no CMakeLists.txt takes up is never run, and nobody misses it."""
    path = file.root / file.path
    if not path.name.endswith("_test.cc") or not path.is_file():
        return
    lists = path.parent / "CMakeLists.txt"
    text = lists.read_text(encoding="utf-8") if lists.is_file() else ""
    if not takes_up(text, path.name):
        yield Finding(file.path, 1, "built", f"{file.path} is in no target of its folder's CMakeLists.txt: it never runs")


RULES: list[Callable[[File], Iterator[Finding]]] = [
    includes, capturing_lambdas, banned, unfinished, heads, sizes, names, links, built,
]


def findings_of(path: str, text: str, root: pathlib.Path = pathlib.Path(".")) -> list[Finding]:
    file = File(path, text, root)
    findings = [finding for rule in RULES for finding in rule(file)]
    return [finding for finding in findings if (finding.path, finding.rule) not in EXCEPTIONS]


def files_of(root: pathlib.Path) -> Iterator[str]:
    """What git would commit; in an unpacked archive, everything but build products."""
    listed = subprocess.run(
        ["git", "-C", str(root), "-c", f"safe.directory={root.resolve()}", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"],
        capture_output=True, check=False)
    if listed.returncode == 0:
        yield from filter(None, listed.stdout.decode().split("\0"))
        return
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if path.is_file() and relative.parts[0] not in ("build", ".git", ".cache") and "__pycache__" not in relative.parts:
            yield relative.as_posix()


def main(arguments: list[str]) -> int:
    root = pathlib.Path(arguments[0] if arguments else ".")
    count = 0
    broken = 0
    for path in sorted(files_of(root)):
        if not (root / path).is_file():
            continue
        count += 1
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = ""  # a picture or a fuzzing corpus: only its name counts
        for finding in findings_of(path, text, root):
            broken += 1
            print(finding)
    print(f"{count} files, {broken} rules broken")
    if count < 50:
        print("hardly any files: is this the root of the tree?")
        return 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
