#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A manual page, man(7), out of what a program says of itself in its help.

Usage: man_page.py PROGRAM VERSION SEE_ALSO > page.1
"""

import pathlib
import re
import subprocess
import sys


def help_of(program: str, *command: str) -> str:
    return subprocess.run([program, *command, "--help"], check=True, capture_output=True, text=True).stdout


def escaped(text: str) -> str:
    """Nothing in it is an instruction to roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def commands_in(text: str) -> list[str]:
    found = re.search(r"^Subcommands:\n((?:  .*\n?)+)", text, re.MULTILINE)
    return re.findall(r"^  ([a-z][a-z-]*)", found[1], re.MULTILINE) if found else []


def sections(program: str, *command: str):
    """Of each command: its words and its help."""
    text = help_of(program, *command)
    yield command, text
    for name in commands_in(text):
        yield from sections(program, *command, name)


def verbatim(text: str) -> str:
    return f".nf\n{escaped(text)}\n.fi"


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    program, version, see_also = sys.argv[1:]
    name = pathlib.Path(program).name
    (_, top), *rest = sections(program)
    first, _, body = top.strip().partition("\n")
    summary = first.rstrip(".")
    out = [f'.TH {name.upper()} 1 "" "{name} {version}" "User Commands"',
           ".SH NAME", f"{escaped(name)} \\- {escaped(summary)}",
           ".SH SYNOPSIS", f".B {escaped(name)}", "[\\fIcommand\\fR] [\\fIoption\\fR ...]",
           ".SH DESCRIPTION", verbatim(body.strip())]
    for command, text in rest:
        out += [f'.SH "{escaped(" ".join(command)).upper()}"', verbatim(text.strip())]
    out += [".SH SEE ALSO", escaped(see_also)]
    print("\n".join(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
