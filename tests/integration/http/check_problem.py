#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds one HTTP answer, as it came over the wire, against a response of the
OpenAPI document.

    check_problem.py OPENAPI_JSON RESPONSE_NAME FILE
"""
import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
with open(sys.argv[3], "rb") as file:
    head, _, body = file.read().partition(b"\r\n\r\n")
response = document["components"]["responses"][sys.argv[2]]
schema = response["content"]["application/problem+json"]["schema"]
whole = {"components": document["components"], "allOf": [schema]}
faults = [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(json.loads(body))]
fields = {line.split(b":")[0].decode().lower() for line in head.split(b"\r\n")[1:]}
faults += [f"no {name}" for name in response["headers"] if name.lower() not in fields]
print("\n".join(faults))
sys.exit(1 if faults else 0)
