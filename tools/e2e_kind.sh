#!/bin/sh
# `make e2e-kind`: the cluster tests on a kind cluster of their own. For a Linux machine with Docker, kind, kubectl and helm,
# and sudo for two routes: Services and pods are reached by their addresses, by way of the kind node.
set -eu
name=${KIND_CLUSTER_NAME:-modelway-e2e}
export KIND_CLUSTER_NAME="$name" MODELWAY_CLUSTER=kind
for program in docker kind kubectl helm; do
  command -v "$program" >/dev/null || { echo "e2e-kind: there is no $program on the PATH" >&2; exit 3; }
done
services=10.96.0.0/16
pods=10.244.0.0/16
node=
finish() {
  for range in $services $pods; do [ -z "$node" ] || sudo ip route del "$range" via "$node" 2>/dev/null || true; done
  kind delete cluster --name "$name"
}
kind create cluster --name "$name" ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"} --wait 120s
trap finish EXIT
node=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name-control-plane")
for range in $services $pods; do sudo ip route replace "$range" via "$node"; done
.venv/bin/python -m pytest tests/cluster "$@"
