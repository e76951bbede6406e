#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of reading one telemetry frame, by itself (instructions/decode.cc), counted by callgrind: with every check;
with the last values kept besides; and, beside it, the parse by protobuf's generated class alone: of the frame, whose body
protobuf frees and makes anew each time, and of the body alone, of which it keeps all.

What a frame costs is the difference of two runs over the difference in frames.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from figures import Figures, arguments, read_lines
from stage import BIN

FEW, MANY = 100, 1_100


def count(what: str, frames: int) -> tuple[int, dict]:
    """Instructions, and what the program says of the frame."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "counts"
        done = subprocess.run(["valgrind", "-q", "--tool=callgrind", "--toggle-collect=turn_*", f"--callgrind-out-file={out}",
                               BIN / "fieldgate_bench_decode", what, str(frames)], check=True, stdout=subprocess.PIPE, text=True)
        total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(errors="replace"), re.M)
        return int(total[1]), read_lines(done.stdout)[0]


def cost(what: str) -> float:
    return (count(what, MANY)[0] - count(what, FEW)[0]) / (MANY - FEW)


def main() -> int:
    options = arguments(__doc__)
    figures = Figures("decode", options.quick)
    figures.update(count("reader", 1)[1])
    reader, values = cost("reader"), cost("values")
    figures.update({"instructions": reader, "last_values_instructions": values - reader,
                    "protobuf_instructions": cost("protobuf"), "protobuf_body_instructions": cost("body")})
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
