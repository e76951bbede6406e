#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes, for helm/fieldgate: values.schema.json and the table in its README, from the comments in values.yaml and the
gateway's own schema, config/fieldgate.schema.json; files/reload.json, from the reference in docs/configuration.md.

Usage: generate.py [--check]    --check: write nothing, exit 1 if something is not current
"""

import json
import pathlib
import re
import sys
from dataclasses import dataclass, field

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/fieldgate"
BEGIN, END = "<!-- begin: made by tests/helm/generate.py -->", "<!-- end -->"
TYPES = ((bool, "boolean"), (int, "integer"), (str, "string"), (dict, "object"), (list, "array"))


@dataclass
class Key:
    """One key of values.yaml."""

    path: tuple[str, ...]
    line: int
    comment: str  # what it is for
    annotation: dict  # what `@schema` says
    section: str  # the `== heading` that it stands under
    default: object = None
    children: list["Key"] = field(default_factory=list)

    @property
    def is_leaf(self) -> bool:
        """Whether it is documented and described as a whole."""
        return not self.children or self.annotation.get("leaf", False)


def keys_of(text: str) -> list[Key]:
    """The keys of `text` as a tree. What it takes for granted: two blanks for each level, every
    key on a line of its own, comments right above their key."""
    tree: list[Key] = []
    stack: list[Key] = []
    comment: list[str] = []
    annotation: dict = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"^( *)([A-Za-z_][\w.-]*):(?: |$)", line)
        note = re.match(r"^ *# ?(.*)$", line)
        if note:
            if note[1].startswith("== "):
                section, comment = note[1][3:], []
            elif note[1].startswith("@schema "):
                annotation = json.loads(note[1][8:])
            else:
                comment.append(note[1])
        elif not line.strip():
            comment = []
        elif found and len(found[1]) % 2 == 0 and len(found[1]) // 2 <= len(stack):
            del stack[len(found[1]) // 2:]
            path = (*(key.path[-1] for key in stack), found[2])
            key = Key(path, number, " ".join(comment), annotation, section)
            (stack[-1].children if stack else tree).append(key)
            stack.append(key)
            comment, annotation = [], {}
    defaults = yaml.safe_load(text)

    def fill(keys: list[Key], values: dict) -> None:
        for key in keys:
            key.default = values[key.path[-1]]
            fill(key.children, key.default if isinstance(key.default, dict) else {})

    fill(tree, defaults)
    return tree


def schema_of(key: Key) -> dict:
    if "$ref" in key.annotation:
        return dict(key.annotation)  # beside a reference draft-07 reads nothing else
    annotation = {name: value for name, value in key.annotation.items() if name != "leaf"}
    out: dict = {"description": key.comment} if key.comment else {}
    kind = next((name for python, name in TYPES if isinstance(key.default, python)), None)
    if kind and "enum" not in annotation:
        out["type"] = kind
    if not key.is_leaf:
        out["additionalProperties"] = False
        out["properties"] = {child.path[-1]: schema_of(child) for child in key.children}
    return {**out, **annotation}


def values_schema(keys: list[Key], config: dict) -> dict:
    """Strict below the root. There other keys may stand: `global`, and whatever an umbrella chart gives its parts."""
    own = {name: part for name, part in config.items() if name not in ("$schema", "$defs")}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart fieldgate",
        "type": "object",
        "properties": {key.path[-1]: schema_of(key) for key in keys},
        "$defs": {**config["$defs"], "config": own},
    }


def table_of(keys: list[Key]) -> str:
    lines: list[str] = []
    section = ""

    def rows(key: Key) -> None:
        if key.is_leaf:
            default = json.dumps(key.default, ensure_ascii=False)
            default = default if len(default) <= 60 else "see values.yaml"
            default = f"`{default}`" if default not in ("null", '""', "see values.yaml") else default.replace("null", "").replace('""', "")
            lines.append(f"| `{'.'.join(key.path)}` | {default} | {key.comment} |".replace("|  |", "| |"))
            return
        for child in key.children:
            rows(child)

    for key in keys:
        if key.section != section:
            section = key.section
            lines += ["", f"### {section}", "", "| value | default | what it is |", "| --- | --- | --- |"]
        rows(key)
    return "\n".join(lines[1:])


def reloadable(reference: str) -> list[str]:
    """The keys whose changed values a running gateway takes over, as its reference says."""
    out, section = [], ""
    for line in reference.splitlines():
        heading = re.match(r"^### `([\w.\[\]]+)`", line)
        row = re.match(r"^\| `(\w+)` \| [^|]* \| [^|]* \| yes \|", line)
        if heading:
            section = heading[1]
        elif row:
            out.append(f"{section}.{row[1]}")
    if not out or any("[" in key for key in out):
        raise ValueError("docs/configuration.md no longer says what a reload takes over, or says it of lists")
    return out


def products() -> dict[pathlib.Path, str]:
    """What each made file must hold."""
    keys = keys_of((CHART / "values.yaml").read_text())
    config = json.loads((ROOT / "config/fieldgate.schema.json").read_text())
    readme = (CHART / "README.md").read_text()
    before, rest = readme.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    keys_reloaded = reloadable((ROOT / "docs/configuration.md").read_text())
    return {
        CHART / "files/reload.json": json.dumps(keys_reloaded, indent=1) + "\n",
        CHART / "values.schema.json": json.dumps(values_schema(keys, config), indent=1, ensure_ascii=False) + "\n",
        CHART / "README.md": f"{before}{BEGIN}\n\n{table_of(keys)}\n\n{END}{after}",
    }


def main(arguments: list[str]) -> int:
    stale = 0
    for path, text in products().items():
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not current: run tests/helm/generate.py")
        else:
            path.write_text(text)
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
