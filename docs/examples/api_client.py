#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of the HTTP API: Python's standard library, nothing else.

  export FIELDGATE_API=http://127.0.0.1:8080 FIELDGATE_API_TOKEN=...
  docs/examples/api_client.py list [NAME=VALUE...]        all devices; online=true, label=site=berlin ...
  docs/examples/api_client.py command DEVICE NAME [JSON]  send it and wait for its end
  docs/examples/api_client.py follow [KIND...]            what happens, as it happens, until Ctrl-C
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

API = os.environ.get("FIELDGATE_API", "http://127.0.0.1:8080").rstrip("/") + "/api/v1"
TOKEN = os.environ.get("FIELDGATE_API_TOKEN", "")


def ask(method, path, body=None, headers=None, timeout=30):
    """The open answer; urllib.error.HTTPError for a status of 400 and above, OSError without an answer."""
    headers = {"Authorization": "Bearer " + TOKEN, **(headers or {})}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    return urllib.request.urlopen(urllib.request.Request(API + path, data, headers, method=method), timeout=timeout)


def devices(conditions):
    """Every device, page after page: `next_cursor` leads to the next one, until it is null."""
    query = [*conditions, ("limit", "500")]
    cursor = None
    while True:
        more = [("cursor", cursor)] if cursor else []
        with ask("GET", "/devices?" + urllib.parse.urlencode(query + more)) as answer:
            page = json.load(answer)
        yield from page["devices"]
        cursor = page["next_cursor"]
        if not cursor:
            return


def command(device, name, payload=None, patience=60):
    """Sends it and waits for its end. The Idempotency-Key makes it safe to ask again when the answer was lost:
    the same key is the same command, never a second one."""
    path, key, deadline = f"/devices/{device}/commands?wait=10s", {"Idempotency-Key": str(uuid.uuid4())}, time.time() + patience
    while True:
        try:
            with ask("POST", path, {"name": name, "payload": payload}, key) as answer:
                sent = json.load(answer)
            break
        except OSError as error:
            # 5xx, or no answer at all: ask again. What was refused (4xx) stays refused.
            if getattr(error, "code", 500) < 500 or time.time() > deadline:
                raise
            time.sleep(1)
    while not sent["final"] and time.time() < deadline:  # 202: not at its end yet
        with ask("GET", f"/commands/{sent['id']}?wait=10s") as answer:
            sent = json.load(answer)
    return sent


def follow(kinds):
    """(event, data) of the live stream, for ever. After a break it goes on where it was: Last-Event-ID."""
    last_id, attempts = None, 0
    query = "?kinds=" + ",".join(kinds) if kinds else ""
    while True:
        try:
            # The gateway gives a sign of life every 15 s: a minute of silence is a dead connection.
            with ask("GET", "/stream" + query, headers={"Last-Event-ID": last_id} if last_id else {}, timeout=60) as answer:
                event = {}
                for line in answer:
                    attempts = 0
                    name, _, value = line.decode().rstrip("\r\n").partition(": ")
                    if name:
                        event[name] = value
                    elif event:  # an empty line ends an event
                        last_id = event.get("id", last_id)
                        if "data" in event:
                            yield event.get("event", "message"), json.loads(event["data"])
                        event = {}
        except OSError as error:
            if 400 <= getattr(error, "code", 0) < 500:
                raise
            print("again in a moment:", error, file=sys.stderr)
        time.sleep(random.uniform(0.1, min(30, 2**attempts)))
        attempts += 1


def main(what="", *arguments):
    if what == "list":
        for device in devices([tuple(one.split("=", 1)) for one in arguments]):
            print(device["id"], "online" if device["online"] else "offline", device["last_seen"])
    elif what == "command" and len(arguments) in (2, 3):
        done = command(*arguments[:2], *map(json.loads, arguments[2:]))
        print(done["state"], json.dumps(done["result"] and done["result"]["payload"]))
        return 0 if done["state"] == "succeeded" else 1
    elif what == "follow":
        for event, data in follow(arguments):
            print(event, json.dumps(data), flush=True)
    else:
        print(__doc__, file=sys.stderr)
        return 64
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except urllib.error.HTTPError as refused:  # a problem document says why (RFC 9457)
        sys.exit(json.load(refused).get("detail", str(refused)))
    except OSError as broken:
        sys.exit(f"{API}: {broken}")
    except KeyboardInterrupt:
        pass
