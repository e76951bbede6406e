#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks and tests the dashboard's JavaScript.

    run.py --esbuild PROGRAM --node PROGRAM --source FOLDER

Every module must pass `node --check` and be without a warning of esbuild's, the whole of it bundled as well. Then
each *.test.js beside this file runs under `node --test`.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False)


def faults(esbuild: str, node: str, source: pathlib.Path, work: pathlib.Path) -> list[str]:
    found = []
    modules = sorted(source.rglob("*.js"))
    for module in modules:
        # Named so, node takes it for what it is in a browser: a module, and strict.
        copy = work / (module.stem + ".mjs")
        copy.write_text(module.read_text(encoding="utf-8"), encoding="utf-8")
        checked = run(node, "--check", copy)
        if checked.returncode != 0:
            found.append(f"{module}: {checked.stderr}")
    for what in ([*modules], [source / "app.js", "--bundle"]):
        built = run(esbuild, *what, "--log-level=warning", "--log-limit=0", f"--outdir={work / 'checked'}")
        if built.returncode != 0 or built.stderr.strip():
            found.append(built.stderr)
    if not modules:
        found.append(f"{source} has no modules")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--esbuild", required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if found := faults(arguments.esbuild, arguments.node, arguments.source, work):
            print("\n".join(found), file=sys.stderr)
            return 1
        tests = sorted(HERE.glob("*.test.js"))
        made = run(arguments.esbuild, *tests, "--bundle", "--platform=node", "--format=esm", "--out-extension:.js=.mjs",
                   "--log-level=warning", f"--outdir={work / 'tests'}")
        if made.returncode != 0 or made.stderr.strip():
            print(made.stderr, file=sys.stderr)
            return 1
        built = sorted((work / "tests").glob("*.test.mjs"))
        if len(built) != len(tests) or not tests:
            print("some tests were not built", file=sys.stderr)
            return 1
        return subprocess.run([arguments.node, "--test", *built], env={"TZ": "UTC", "PATH": "/usr/bin"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
