# SPDX-License-Identifier: Apache-2.0
"""What the tests of the chart share: its values files, what they are known to render to, and Helm where it is there."""

import hashlib
import pathlib
import re
import subprocess
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tools  # pylint: disable=wrong-import-position

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/fieldgate"
GOLDEN = pathlib.Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
HELM = tools.program("helm")
NO_HELM = "no helm in build/tools: `./dev check chart` gets it where the Go proxy can be reached"
KUBERNETES = "1.34.0"
DURATION = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

Document = dict


class Refused(Exception):
    """What Helm said when it did not render."""


def helm(*arguments) -> str:
    done = subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def render(values: str | None = None, *arguments: str, chart: pathlib.Path = CHART, **over) -> str:
    """The manifests, as text: of ci/VALUES-values.yaml, of no values at all, or of `over`, which come on top."""
    command = ["template", "fieldgate", chart, "--namespace", "fieldgate", "--kube-version", KUBERNETES, *arguments]
    if values:
        command += ["--values", CHART / f"ci/{values}-values.yaml"]
    if over:
        command += ["--values", "-"]
    done = subprocess.run([HELM, *map(str, command)], input=yaml.safe_dump(over), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(found: list[Document], kind: str, name: str | None = None) -> list[Document]:
    return [one for one in found if one["kind"] == kind and name in (None, one["metadata"]["name"])]


def only(found: list[Document], kind: str, name: str | None = None) -> Document:
    """The one of that kind (and name)."""
    fitting = of_kind(found, kind, name)
    if len(fitting) != 1:
        raise AssertionError(f"{len(fitting)} of {kind} {name or ''}, not one")
    return fitting[0]


def workload(found: list[Document]) -> Document:
    """The gateways' Deployment or StatefulSet."""
    fitting = [one for one in found if one["kind"] in ("Deployment", "StatefulSet")
               and one["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"]
    if len(fitting) != 1:
        raise AssertionError(f"{len(fitting)} workloads of gateways, not one")
    return fitting[0]


def pods(found: list[Document]) -> list[tuple[str, Document]]:
    """(name, pod template) of everything that makes pods."""
    out = []
    for one in found:
        if one["kind"] in ("Deployment", "StatefulSet"):
            out.append((one["metadata"]["name"], one["spec"]["template"]))
        elif one["kind"] == "Pod":
            out.append((one["metadata"]["name"], one))
    return out


def gateway(found: list[Document]) -> Document:
    """The gateway's container."""
    return next(one for one in workload(found)["spec"]["template"]["spec"]["containers"] if one["name"] == "fieldgate")


def configuration(found: list[Document]) -> dict:
    """What the gateway reads."""
    name = next(one["configMap"]["name"] for one in workload(found)["spec"]["template"]["spec"]["volumes"] if one["name"] == "config")
    return yaml.safe_load(only(found, "ConfigMap", name)["data"]["fieldgate.yaml"])


def golden(name: str) -> list[Document]:
    return documents((GOLDEN / f"{name}.yaml").read_text())


def fingerprint() -> str:
    """Of what golden/ is made of, but for what tests/helm/generate.py makes: so that it is noticed without Helm, too, if
    it is not current."""
    sources = [CHART / "Chart.yaml", CHART / "values.yaml", *(path for part in ("ci", "files", "templates")
                                                             for path in (CHART / part).rglob("*")
                                                             if path.is_file() and path.name != "reload.json")]
    lines = (f"{path.relative_to(CHART)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in sorted(sources))
    return hashlib.sha256("".join(lines).encode()).hexdigest() + "\n"


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * DURATION[unit]
