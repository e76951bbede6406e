#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One proof of the delivery contract, in the short form of `./dev test` or the long one of `./dev bench faults`."""

import argparse
import pathlib
import signal
import sys

import namespaces
from proofs import PROOFS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("proof", choices=PROOFS)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `finally`
    proof = PROOFS[options.proof]
    if proof.NAMESPACE is not None:
        namespaces.enter(network=proof.NAMESPACE == "network")
    verdict = proof(options.bin.resolve(), long=options.long, seed=options.seed).run()
    print(f"proof={options.proof}", verdict.text())
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
