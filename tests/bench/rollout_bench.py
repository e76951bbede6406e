#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three replicas on one machine, with Debian's mosquitto and PostgreSQL, behind haproxy, with 10,000 devices: what happens
when they are restarted one after the other, killed, cut off, when broker and database are restarted, and when devices move.

Each replica has its own loopback address. Devices show certificates, send 1,000 frames a second in all, and are acknowledged
when the broker has what they sent; a subscriber at the broker holds that against what arrived (`lost`). Each scene has
devices of its own and begins with all of them connected:

  rolling     `fieldgate drain` and SIGTERM, one replica after the other, each once the one before is ready
  kill        kill -9 of one; `presence_true_s`: until the API of the others says of no device any more that it is there
  partition   one reaches neither broker nor database until the others have given its devices up; some devices connect to
              another; `agreed_s`: from the healing until all replicas and the store name one owner, the same, for each id
  postgres    stopped for 10 s
  broker      stopped for 10 s
  takeover    a tenth of the devices connect to a second replica while their first connections stand

Exits with 1 if a promise is broken, and says which.
"""

import argparse
import sys

from replica_scenes import SCENES, Scene, replicas
from stage import BIN, Figures, arguments, demo


def main() -> int:
    options = arguments(__doc__, devices=10_000, replicas=3, lease=15, only="")
    names = options.only.split(",") if options.only else list(SCENES)
    if unknown := [name for name in names if name not in SCENES]:
        print(f"rollout: no scene {unknown[0]!r}; there are: {', '.join(SCENES)}", file=sys.stderr)
        return 2
    if options.quick:
        options.devices, options.lease = min(options.devices, 600), min(options.lease, 5)
    figures, broken = Figures("rollout", options.quick or bool(options.only)), []  # a part is not for the page either
    figures.update({"devices": options.devices, "replicas": options.replicas, "lease_s": options.lease})
    run = argparse.Namespace(preset="release", bin=BIN, spool=False, devices=options.devices, replicas=options.replicas)
    try:
        with replicas(run, lease_s=options.lease) as fleet:
            figures.add("balancers", len(fleet.balancers))
            for name in names:
                scene = Scene(fleet, options.devices)
                print(f"# {name}", file=sys.stderr, flush=True)
                getattr(scene, name)()
                figures.update({f"{name}.{key}": value for key, value in scene.figures.items()})
                print(f"# {name}: {scene.figures}", file=sys.stderr, flush=True)
                broken += [f"{name}: {promise}" for promise in scene.broken]
    except demo.Failure as failure:
        print(f"rollout: {failure}", file=sys.stderr)
        return 1
    figures.add("promises_broken", len(broken))
    figures.report()
    for promise in broken:
        print(f"BROKEN: {promise}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
