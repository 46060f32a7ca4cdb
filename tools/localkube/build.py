"""The programs that come as Go source: Kubernetes, etcd, CoreDNS, helm and pause, built once into the cache.

They are built from one module, for they share most of what takes time to compile.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from .errors import CannotRunHereError
from .layout import NODE_SOURCE, PROMETHEUS_SOURCE, Layout
from .packages import fetch_prometheus
from .shell import run, step

PROGRAMS = (".", "./coredns", "./pause", "helm.sh/helm/v4/cmd/helm")
LEAST_GO = (1, 26)  # what Prometheus asks for; Kubernetes takes 1.25


def build_binaries(layout: Layout) -> None:
    """Build what the cache lacks; with a full cache this looks at a few files and returns."""
    if not layout.binaries.exists():
        build_node(layout)
    link_commands(layout)


def build_node(layout: Layout) -> None:
    """Compile into a folder beside the final one, so that an interrupted build never looks finished."""
    go = find_go()
    unfinished = layout.cache / "bin-unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with step("build Kubernetes, etcd, CoreDNS and helm (minutes, once)"):
        run(
            go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", linker_flags(),
            "-o", f"{unfinished}/", *PROGRAMS,
            cwd=NODE_SOURCE, env=go_environment(),
        )  # fmt: skip
    unfinished.rename(layout.binaries)
    for other in layout.cache.glob("bin-*"):
        if other != layout.binaries:
            shutil.rmtree(other, ignore_errors=True)


def build_prometheus(layout: Layout) -> Path:
    """Prometheus for pods: with Kubernetes discovery, which Debian leaves out, and no other, to save time."""
    program = layout.prometheus_binary
    if not program.exists():
        unfinished = program.with_suffix(".unfinished")
        with step("build Prometheus with Kubernetes discovery (minutes, once)"):
            run(
                find_go(), "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w",
                "-tags", "remove_all_sd,enable_kubernetes_sd", "-o", unfinished,
                "github.com/prometheus/prometheus/cmd/prometheus",
                cwd=PROMETHEUS_SOURCE, env=go_environment(),
            )  # fmt: skip
        unfinished.rename(program)
    return program


def linker_flags() -> str:
    """No symbols, which are a third of the binaries, and the versions, which a plain build does not know."""
    module = (NODE_SOURCE / "go.mod").read_text()
    versions = dict(re.findall(r"^\t(k8s\.io/kubernetes|helm\.sh/helm/v4) (v[0-9.]+)", module, re.MULTILINE))
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    values = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in values.items()
    ]
    flags.append(f"-X helm.sh/helm/v4/internal/version.version={versions['helm.sh/helm/v4']}")
    return " ".join(["-s", "-w", *flags])


def link_commands(layout: Layout) -> None:
    """Fill the folder that `localkube env` puts on the PATH."""
    layout.commands.mkdir(parents=True, exist_ok=True)
    prometheus = fetch_prometheus(layout)
    kubectl = layout.commands / "kubectl"
    script = f'#!/bin/sh\nexec "{layout.node_binary}" kubectl "$@"\n'
    if not kubectl.exists() or kubectl.read_text() != script:
        kubectl.write_text(script)
        kubectl.chmod(0o755)
    for target in (layout.helm_binary, prometheus / "prometheus", prometheus / "promtool"):
        link = layout.commands / target.name
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def find_go() -> str:
    """A Go that can build Kubernetes' modules."""
    usual = "/usr/local/go/bin/go"
    go = shutil.which("go") or (usual if Path(usual).exists() else None)
    if go is None:
        raise CannotRunHereError("Go is missing: install Go 1.26 or newer (https://go.dev/dl) and put it on the PATH")
    version = run(go, "env", "GOVERSION").strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < LEAST_GO:
        raise CannotRunHereError(f"{version} is too old: install Go 1.26 or newer")
    return go


def go_environment() -> dict[str, str]:
    """Static binaries, and one compiler a core: each takes up to 1 GB for the largest packages."""
    # A GOFLAGS of the person's own (say -mod=vendor) could contradict ours.
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": f"-p={os.cpu_count() or 2}"}
