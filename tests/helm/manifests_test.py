#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What others say of the manifests in golden/: Kubernetes' own schemas and those of the CRDs, and a linter of policies."""

import json
import subprocess
import tempfile
import unittest

import yaml

import chart
from chart import tools

KUBECONFORM, KUBE_SCORE = tools.program("kubeconform"), tools.program("kube-score")
MISSING = "no {} in build/tools: `./dev check chart` gets it where the Go proxy can be reached"

# What kube-score finds and is meant so.
MEANT = {
    "container-image-pull-policy": "versions are never moved",
    "deployment-has-host-podantiaffinity": "topologySpread spreads them",
    "statefulset-has-host-podantiaffinity": "topologySpread spreads them",
}
MEANT_OF = {
    "test": {"pod-networkpolicy": "it only asks, and answers nobody"},
    "tryout-mosquitto": {"container-security-context-user-group-id": "as its image has it", "deployment-replicas": "for trying out",
                         "deployment-strategy": "for trying out", "pod-networkpolicy": "it has one for what comes in",
                         "pod-probes-identical": "it can be asked nothing else"},
    "tryout-postgresql": {"container-security-context-user-group-id": "as its image has it", "deployment-replicas": "for trying out",
                          "deployment-strategy": "for trying out", "pod-networkpolicy": "it has one for what comes in"},
    "fieldgate": {"pod-networkpolicy": "egress is open unless networkPolicy.egress is set", "deployment-replicas": "one was asked for"},
    "gw": {"pod-networkpolicy": "egress is open unless networkPolicy.egress is set"},
    "devices": {"service-type": "a port of the nodes was asked for"},
}


def conforms(text: str, kubernetes: str) -> list[dict]:
    """What does not fit the schemas."""
    done = subprocess.run([KUBECONFORM, "-strict", "-output", "json", "-schema-location",
                           f"{tools.schemas(kubernetes)}/{tools.SCHEMA_NAME}", "-"], input=text, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)["resources"]


@unittest.skipUnless(KUBECONFORM, MISSING.format("kubeconform"))
class Schemas(unittest.TestCase):
    def test_manifests_fit_the_schemas_of_the_oldest_kubernetes_and_of_a_recent_one(self):
        for kubernetes in tools.KUBERNETES:
            if not tools.schemas(kubernetes):
                self.skipTest(MISSING.format(f"schemas of Kubernetes {kubernetes}"))
            for name in chart.NAMES:
                with self.subTest(values=name, kubernetes=kubernetes):
                    self.assertEqual(conforms((chart.GOLDEN / f"{name}.yaml").read_text(), kubernetes), [])

    def test_the_schemas_know_what_is_wrong(self):
        for kubernetes in tools.KUBERNETES:
            if not tools.schemas(kubernetes):
                self.skipTest(MISSING.format(f"schemas of Kubernetes {kubernetes}"))
            for kind, change in (("Deployment", lambda one: one["spec"].update(replica=1)),
                                 ("Deployment", lambda one: one["spec"]["template"]["spec"].update(terminationGracePeriodSeconds="x")),
                                 ("Certificate", lambda one: one["spec"].pop("issuerRef")),
                                 ("PrometheusRule", lambda one: one["spec"].update(group=[])),
                                 ("Unheard", lambda one: None)):
                found = [one for one in chart.golden("fleet") if one["kind"] == kind] or [{"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}}]
                change(found[0])
                self.assertEqual(1, len(conforms(yaml.safe_dump(found[0]), kubernetes)), kind)


@unittest.skipUnless(KUBE_SCORE, MISSING.format("kube-score"))
class Policies(unittest.TestCase):
    def complaints(self, text: str) -> set[tuple[str, str, str]]:
        """(kind, component, check) of what kube-score would not have so."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([KUBE_SCORE, "score", "--output-format", "json", "--kubernetes-version", "v1.34", "--ignore-container-cpu-limit",
                                   "--enable-optional-test", "container-security-context-privileged",
                                   "--enable-optional-test", "container-seccomp-profile", file.name], capture_output=True, text=True, check=False)
        out = set()
        for one in json.loads(done.stdout):
            for check in one["checks"]:
                if not check["skipped"] and check["grade"] < 10:
                    out.add((one["type_meta"]["kind"], one["object_meta"]["name"].removeprefix("fieldgate-").removeprefix("gw-"), check["check"]["id"]))
        return out

    def test_the_linter_has_no_complaint_beyond_what_is_meant_so(self):
        for name in chart.NAMES:
            with self.subTest(values=name):
                # A fleet is production: what is excused elsewhere is not there, but for the pod of `helm test`.
                meant_of = {"test": MEANT_OF["test"]} if name == "fleet" else MEANT_OF
                left = {one for one in self.complaints((chart.GOLDEN / f"{name}.yaml").read_text())
                        if one[2] not in MEANT and one[2] not in meant_of.get(one[1], {})}
                self.assertEqual(left, set())

    def test_the_linter_would_see_a_container_that_may_write_its_root(self):
        found = chart.golden("fleet")
        chart.gateway(found)["securityContext"]["readOnlyRootFilesystem"] = False
        checks = {check for _, _, check in self.complaints(yaml.safe_dump_all(found))}
        self.assertIn("container-security-context-readonlyrootfilesystem", checks)


if __name__ == "__main__":
    unittest.main()
