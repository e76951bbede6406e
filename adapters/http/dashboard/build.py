#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the dashboard: bundles and minifies it, names each file after its content, and writes all of it, with its
gzip form, as a C++ source that defines fieldgate::http::assets().

    build.py --esbuild PROGRAM --source FOLDER --work FOLDER --output FILE.cc [--gzip-bytes-max N]

The same sources and the same esbuild give the same bytes. Fails if the gzip forms together exceed the limit.
"""

import argparse
import gzip
import hashlib
import pathlib
import subprocess
import sys

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
BROWSERS = "--target=chrome100,firefox100,safari15.4"


def bundle(esbuild: str, entry: pathlib.Path, output: pathlib.Path) -> bytes:
    more = ["--format=iife"] if entry.suffix == ".js" else []
    done = subprocess.run([esbuild, entry, "--bundle", "--minify", "--charset=utf8", "--legal-comments=none", BROWSERS,
                           "--log-level=warning", f"--outfile={output}", *more], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return output.read_bytes()


def files(arguments) -> dict[str, tuple[str, bytes]]:
    """By path of the request: type and content."""
    made, names = {}, {}
    for name in ("app.js", "app.css", "icon.svg"):
        source = arguments.source / name
        plain = source.read_bytes() if source.suffix == ".svg" else bundle(arguments.esbuild, source, arguments.work / name)
        digest = hashlib.sha256(plain).hexdigest()[:10]
        names[name] = f"/assets/{source.stem}.{digest}{source.suffix}"
        made[names[name]] = (TYPES[source.suffix], plain)
    page = (arguments.source / "index.html").read_text(encoding="utf-8")
    page = "\n".join(line.strip() for line in page.splitlines() if line.strip()) + "\n"
    for name, path in names.items():
        if f'"{name}"' not in page:
            sys.exit(f"index.html does not refer to {name}")
        page = page.replace(f'"{name}"', f'"{path}"')
    made["/"] = (TYPES[".html"], page.encode())
    return made


def literal(data: bytes) -> str:
    """As a C++ string literal, in lines."""
    def escaped(byte: int) -> str:
        if 32 <= byte < 127 and byte not in b'"\\?':
            return chr(byte)
        return f"\\{byte:03o}"

    lines = ["".join(map(escaped, data[at:at + 80])) for at in range(0, len(data), 80)]
    return "\n".join(f'    "{line}"' for line in lines)


def source_text(made: dict[str, tuple[str, bytes, bytes]]) -> str:
    # A compiler need not take texts of this length; those that we build with do.
    parts = ["// Made by build.py.\n#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n#include \"adapters/http/assets.h\"\n\n#include <array>\n\n"
             "namespace fieldgate::http {\nnamespace {\n\nusing namespace std::string_view_literals;\n"]
    rows = []
    for number, (path, (content_type, plain, packed)) in enumerate(sorted(made.items())):
        parts.append(f"constexpr std::string_view k_plain_{number} =\n{literal(plain)}sv;\n")
        parts.append(f"constexpr std::string_view k_gzip_{number} =\n{literal(packed)}sv;\n")
        tag = f'W/\\"{hashlib.sha256(plain).hexdigest()[:20]}\\"'
        immutable = "true" if path.startswith("/assets/") else "false"
        rows.append(f'    {{"{path}", "{content_type}", k_plain_{number}, k_gzip_{number}, "{tag}", {immutable}}},')
    parts.append(f"constexpr std::array<Asset, {len(rows)}> k_assets = {{{{\n" + "\n".join(rows) + "\n}};\n")
    parts.append("}  // namespace\n\nstd::span<const Asset> assets() noexcept { return k_assets; }\n\n"
                 "}  // namespace fieldgate::http\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esbuild", required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--gzip-bytes-max", type=int, default=150 * 1024)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    made = {path: (content_type, plain, gzip.compress(plain, 9, mtime=0))
            for path, (content_type, plain) in files(arguments).items()}
    total = sum(len(packed) for _, _, packed in made.values())
    print(f"dashboard: {len(made)} files, {sum(len(plain) for _, plain, _ in made.values())} bytes, {total} in gzip")
    if total > arguments.gzip_bytes_max:
        sys.exit(f"the dashboard takes {total} bytes in gzip; at most {arguments.gzip_bytes_max} are allowed")
    # For the mock of the API that the pages are developed against.
    site = arguments.work / "site"
    for old in site.rglob("*.*"):
        old.unlink()
    (site / "assets").mkdir(parents=True, exist_ok=True)
    for path, (_, plain, _) in made.items():
        (site / (path.lstrip("/") or "index.html")).write_bytes(plain)
    arguments.output.write_text(source_text(made), encoding="ascii")


if __name__ == "__main__":
    main()
