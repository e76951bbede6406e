#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The contract that the other tests hold answers against finds what is wrong, and a test that meets with it fails."""

import copy
import json
import unittest
import urllib.request

from contract_proxy import ContractProxy
from gateway_fixture import API_TOKEN, CONTRACT, GatewayTestCase

NODES = "/api/v1/nodes"
HEADERS = {"X-Request-Id": "5f0c1a9e-17", "Cache-Control": "no-store", "Content-Type": "application/json"}


class ContractTest(unittest.TestCase):
    def faults(self, method: str, target: str, status: int, headers: dict, body) -> list[str]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        CONTRACT.check_answer(method, target, status, headers, content)
        return CONTRACT.take_faults()

    def test_a_literal_segment_comes_before_a_parameter(self):
        for target, path in (("/api/v1/devices/import", "/api/v1/devices/import"), ("/api/v1/devices/pump%2D7?limit=1", "/api/v1/devices/{id}"),
                             ("/api/v1/dead-letters/replay", "/api/v1/dead-letters/replay"), ("/api/v1/dead-letters/7", "/api/v1/dead-letters/{id}"),
                             ("/api/v1/devices//twin", None), ("/api/v1/devices/a/b/c", None), ("/", "/"), ("/nowhere", None)):
            self.assertEqual(CONTRACT.template(target), path, target)

    def test_what_is_wrong_with_an_answer_is_a_fault(self):
        lanes = {"lanes": []}
        self.assertEqual(self.faults("GET", "/api/v1/lanes", 200, HEADERS, lanes), [])
        for method, target, status, headers, body in (
                ("GET", "/api/v1/lanes", 418, HEADERS, lanes), ("GET", "/api/v1/lanes", 200, {**HEADERS, "Content-Type": "text/html"}, lanes),
                ("GET", "/api/v1/lanes", 200, HEADERS, {"lanes": None}), ("GET", "/api/v1/lanes", 200, HEADERS, {"lanes": [], "x": 1}),
                ("GET", "/api/v1/lanes", 200, HEADERS, b"{"), ("HEAD", "/api/v1/lanes", 200, HEADERS, lanes),
                ("BREW", "/api/v1/lanes", 200, HEADERS, lanes), ("GET", "/nowhere", 200, HEADERS, lanes),
                ("GET", "/api/v1/lanes", 200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, lanes)):
            self.assertEqual(len(self.faults(method, target, status, headers, body)), 1, (method, target, status, headers, body))

    def test_a_problem_has_to_be_that_of_its_answer(self):
        problem = {"type": "/problems/not-found", "title": "t", "status": 404, "detail": "d", "instance": "urn:fieldgate:request:5f0c1a9e-17"}
        headers = {**HEADERS, "Content-Type": "application/problem+json"}
        self.assertEqual(self.faults("GET", "/nowhere", 404, headers, problem), [])
        for wrong in ({"status": 403}, {"instance": "urn:fieldgate:request:5f0c1a9e-18"}, {"type": "/problems/unheard-of"}):
            self.assertNotEqual(self.faults("GET", "/nowhere", 404, headers, {**problem, **wrong}), [], wrong)


class FixtureTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway()
        cls.proxy = ContractProxy(cls.gateway_)
        cls.addClassCleanup(cls.proxy.close)

    def with_another_document(self, ask) -> unittest.TestResult:
        """Of a test that asks, while nodes are said to have a member that they have not."""
        class Asking(GatewayTestCase):
            setUpClass = classmethod(lambda cls: None)

            def test(self):
                ask()

        document, validators = CONTRACT.document, CONTRACT._validators
        CONTRACT.document, CONTRACT._validators = copy.deepcopy(document), {}
        CONTRACT.document["components"]["schemas"]["NodeList"]["required"].append("moons")
        try:
            result = unittest.TestResult()
            Asking("test").run(result)
            return result
        finally:
            CONTRACT.document, CONTRACT._validators = document, validators

    def test_a_test_fails_whose_answer_is_not_as_described_however_it_asked(self):
        through = urllib.request.Request(self.proxy.url + NODES, headers={"Authorization": f"Bearer {API_TOKEN}"})
        for ask in (lambda: self.gateway_.api(NODES), lambda: self.gateway_.call("GET", "/nodes"), lambda: urllib.request.urlopen(through).close()):
            result = self.with_another_document(ask)
            self.assertEqual(len(result.failures), 1, result)
            self.assertIn("moons", result.failures[0][1])
        self.assertEqual(self.gateway_.call("GET", "/nodes").status, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
