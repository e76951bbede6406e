#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Helm, kubeconform and kube-score, and the schemas of Kubernetes and of the CRDs that the chart may use: all of them
of one version, all of them from the Go module proxy (checked against sum.golang.org by the go command), kept in
build/tools.

Usage: tools.py    gets what is missing. What cannot be had is named, and is no failure: the tests that need it are
skipped, and say so.
"""

import base64
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("FIELDGATE_TOOLS") or ROOT / "build/tools")

PROGRAMS = {
    "helm": ("helm.sh/helm/v3", "cmd/helm", "v3.20.2"),
    "kubeconform": ("github.com/yannh/kubeconform", "cmd/kubeconform", "v0.7.0"),
    "kube-score": ("github.com/zegl/kube-score", "cmd/kube-score", "v1.20.0"),
}
# The oldest Kubernetes that Chart.yaml allows, and a recent one.
KUBERNETES = {"1.27": "v1.27.16", "1.34": "v1.34.2"}
API_GROUPS = ("api__v1", "apis__apps__v1", "apis__autoscaling__v2", "apis__networking.k8s.io__v1", "apis__policy__v1",
              "apis__scheduling.k8s.io__v1")
CRDS = {
    "gateway-api": ("sigs.k8s.io/gateway-api", "v1.4.1", "config/crd/experimental/gateway.networking.k8s.io_tlsroutes.yaml"),
    "cert-manager": ("github.com/cert-manager/cert-manager", "v1.19.1", "deploy/crds/cert-manager.io_*.yaml"),
    "prometheus-operator": ("github.com/prometheus-operator/prometheus-operator", "v0.85.0",
                            "example/prometheus-operator-crd/monitoring.coreos.com_*.yaml"),
}
# As kubeconform names them; the group of what has none is its version.
SCHEMA_NAME = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"
# Where there is no Go, or one that is too old: the proxy has Go itself, too. The sums are those of sum.golang.org.
GO_NEEDED = (1, 25)
GO = "v0.0.1-go1.25.5.linux-"
GO_SUMS = {
    "amd64": "h1:IkknVKy/4hLMR+ZwWfP4Oqhjz2sKqNtEXz1meP8P3Nc=",
}
PROXY = "https://proxy.golang.org"
SECONDS = 1200  # for one program, on a small machine


class Unavailable(Exception):
    """Something cannot be had; the text says what and why."""


def program(name: str) -> pathlib.Path | None:
    """Where a tool is, if it is there in the version that is wanted."""
    path = TOOLS / f"{name}-{PROGRAMS[name][2]}" / name
    return path if path.exists() else None


def schemas_folder(kubernetes: str) -> pathlib.Path:
    pins = pathlib.Path(__file__).read_text()  # versions, and how the schemas are made
    return TOOLS / f"schemas-{KUBERNETES[kubernetes]}-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"


def schemas(kubernetes: str) -> pathlib.Path | None:
    """The folder of schemas of one Kubernetes and of the CRDs, each a file as SCHEMA_NAME says."""
    path = schemas_folder(kubernetes)
    return path if path.exists() else None


# ---------------------------------------------------------------- Go

def go_version(go: str) -> tuple[int, int]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"go(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def sum_of(archive: zipfile.ZipFile) -> str:
    """The h1 sum of a module's archive, as go.sum has it."""
    lines = sorted(((name, hashlib.sha256(archive.read(name)).hexdigest()) for name in archive.namelist()))
    listing = "".join(f"{digest}  {name}\n" for name, digest in lines)
    return "h1:" + base64.b64encode(hashlib.sha256(listing.encode()).digest()).decode()


def fetched_go(folder: pathlib.Path) -> str:
    """Go from the proxy, unpacked into `folder`."""
    machine = {"x86_64": "amd64"}.get(platform.machine(), "")
    if machine not in GO_SUMS:
        raise Unavailable(f"no Go {GO_NEEDED[0]}.{GO_NEEDED[1]} on PATH, and none to fetch for {platform.machine()}")
    version = GO + machine
    print(f"fetching {version}", flush=True)
    with tempfile.TemporaryFile() as file:
        try:
            with urllib.request.urlopen(f"{PROXY}/golang.org/toolchain/@v/{version}.zip", timeout=30) as answer:
                shutil.copyfileobj(answer, file)
        except (OSError, urllib.error.URLError) as why:
            raise Unavailable(f"no Go {GO_NEEDED[0]}.{GO_NEEDED[1]} on PATH, and none from {PROXY}: {why}") from why
        with zipfile.ZipFile(file) as archive:
            if sum_of(archive) != GO_SUMS[machine]:
                raise Unavailable(f"what {PROXY} gives as {version} is not what sum.golang.org knows")
            archive.extractall(folder)
    tree = folder / f"golang.org/toolchain@{version}"
    for path in (*tree.glob("bin/*"), *tree.glob("pkg/tool/*/*")):
        path.chmod(0o755)
    return str(tree / "bin/go")


def find_go(folder: pathlib.Path) -> str:
    for go in filter(None, (shutil.which("go"), "/usr/local/go/bin/go")):
        if pathlib.Path(go).exists() and go_version(go) >= GO_NEEDED:
            return go
    return fetched_go(folder)


class Modules:
    """The go command, with caches that go when this does, and the command itself if it had to be fetched."""

    def __init__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="go-", dir=TOOLS))
        self.environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0", "GOWORK": "off",
                            "GOPATH": str(self.work), "GOMODCACHE": str(self.work / "mod"), "GOCACHE": str(self.work / "cache")}

    def __enter__(self) -> "Modules":
        try:
            self.go = find_go(self.work)
            module, _, version = PROGRAMS["kubeconform"]
            self.run("list", "-m", f"{module}@{version}", seconds=60)  # soon, if there is no network
        except Unavailable:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.work, ignore_errors=True)

    def run(self, *arguments: str, seconds: int, **environment: str) -> str:
        try:
            done = subprocess.run([self.go, *arguments], cwd=self.work, env={**self.environment, **environment},
                                  capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise Unavailable(f"go {' '.join(arguments)}: not done after {seconds} s") from late
        if done.returncode != 0:
            why = json.loads(done.stdout)["Error"] if done.stdout.startswith("{") else done.stderr.strip().splitlines()[-1]
            raise Unavailable(f"go {' '.join(arguments)}: {why}")
        return done.stdout

    def install(self, name: str) -> None:
        module, package, version = PROGRAMS[name]
        print(f"building {name} {version}", flush=True)
        with tempfile.TemporaryDirectory(dir=TOOLS) as out:
            self.run("install", "-trimpath", "-ldflags=-s -w", f"{module}/{package}@{version}", seconds=SECONDS, GOBIN=out)
            target = TOOLS / f"{name}-{version}"
            target.mkdir(exist_ok=True)
            (pathlib.Path(out) / name).rename(target / name)

    def source(self, module: str, version: str) -> pathlib.Path:
        answer = json.loads(self.run("mod", "download", "-json", f"{module}@{version}", seconds=300))
        return pathlib.Path(answer["Dir"])


# ---------------------------------------------------------------- schemas

def strict(node):
    """A copy in which an object has only the properties that are named, as Kubernetes itself would drop others."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: strict(value) for key, value in node.items()}
    if out.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    elif isinstance(out.get("properties"), dict) and "additionalProperties" not in out \
            and not out.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    return out


def kinds_of(document: dict):
    """(group, version, kind, schema) of each kind in an OpenAPI document of Kubernetes."""
    parts = document["components"]["schemas"]
    text = {name: json.dumps(strict(part)).replace("#/components/schemas/", "#/definitions/") for name, part in parts.items()}
    for name, part in parts.items():
        kinds = part.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1 or kinds[0]["kind"].endswith("List"):
            continue  # no object of its own
        for gvk in kinds:
            needed, left = set(), [name]
            while left:
                one = left.pop()
                if one not in needed:
                    needed.add(one)
                    left += re.findall(r'"#/definitions/([^"]+)"', text[one])
            yield gvk["group"], gvk["version"], gvk["kind"], {
                "$ref": f"#/definitions/{name}", "definitions": {one: json.loads(text[one]) for one in sorted(needed)}}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """One that takes a bare `=`, which YAML 1.1 has a tag for, as text."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def crds_of(text: str):
    for crd in yaml.load_all(text, Loader=Loader):
        if not crd or crd.get("kind") != "CustomResourceDefinition":
            continue
        for version in crd["spec"]["versions"]:
            yield (crd["spec"]["group"], version["name"], crd["spec"]["names"]["kind"],
                   strict(version["schema"]["openAPIV3Schema"]))


def make_schemas(modules: Modules, kubernetes: str) -> None:
    print(f"fetching the schemas of Kubernetes {kubernetes} and of the CRDs", flush=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as work:
        out = pathlib.Path(work) / "schemas"
        out.mkdir()
        kinds = []
        source = modules.source("k8s.io/kubernetes", KUBERNETES[kubernetes])
        for group in API_GROUPS:
            kinds += kinds_of(json.loads((source / f"api/openapi-spec/v3/{group}_openapi.json").read_text()))
        for module, version, pattern in CRDS.values():
            for path in modules.source(module, version).glob(pattern):
                kinds += crds_of(path.read_text())
        for group, version, kind, schema in kinds:
            (out / f"{group or version}_{version}_{kind.lower()}.json").write_text(json.dumps(schema))
        for old in TOOLS.glob(f"schemas-{KUBERNETES[kubernetes]}-*"):
            shutil.rmtree(old)
        out.rename(schemas_folder(kubernetes))


def main() -> int:
    missing = [name for name in PROGRAMS if not program(name)]
    bare = [kubernetes for kubernetes in KUBERNETES if not schemas(kubernetes)]
    if not missing and not bare:
        return 0
    TOOLS.mkdir(parents=True, exist_ok=True)
    try:
        with Modules() as modules:
            for name in missing:
                try:
                    modules.install(name)
                except Unavailable as why:
                    print(f"no {name}, its checks will be skipped: {why}")
            for kubernetes in bare:
                try:
                    make_schemas(modules, kubernetes)
                except Unavailable as why:
                    print(f"no schemas of Kubernetes {kubernetes}, their checks will be skipped: {why}")
    except Unavailable as why:
        wanted = missing + [f"schemas of Kubernetes {kubernetes}" for kubernetes in bare]
        print(f"no {', '.join(wanted)}; the checks that need them will be skipped: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
