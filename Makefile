# Modelway. `make help` lists what there is; `make demo` and `make test` work from a clean checkout.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
LOCALKUBE := tools/localkube/localkube
PYTEST := $(BIN)/python -m pytest
# A cluster that is there already needs no node of ours.
NODE := $(if $(filter kind current,$(MODELWAY_CLUSTER)),,node)

.PHONY: help env dev-env demo pictures check format test test-unit test-integration test-cluster nightly e2e-kind node generate verify lock images bench bench-prompts

help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

env:
	@tools/environment.sh cli

dev-env:
	@tools/environment.sh dev

demo: env ## a healthy version is promoted, a bad one rolled back, live in this terminal (no cluster needed)
	@$(BIN)/modelway demo

check: dev-env ## format, lint, types, import floors, generated files
	@echo "==> ruff format"; $(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@echo "==> ruff check"; $(BIN)/ruff check --quiet .
	@echo "==> mypy"; $(BIN)/mypy
	@echo "==> import floors"; $(BIN)/lint-imports --no-logo >/tmp/modelway-floors.$$$$ 2>&1 || { cat /tmp/modelway-floors.$$$$; exit 1; }; tail -2 /tmp/modelway-floors.$$$$; rm -f /tmp/modelway-floors.$$$$
	@$(MAKE) --no-print-directory verify

format: dev-env ## format the code and fix what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

node: ## build the Kubernetes node for tests when it is not cached (as root on Linux; installs Debian packages, saying so)
	@$(LOCALKUBE) build || { status=$$?; [ $$status -eq 3 ] && [ -z "$$CI" ] && { echo "cluster tests will be skipped" >&2; exit 0; }; exit $$status; }

test: dev-env node ## every test: unit, integration, and the cluster tests on a real node
	@$(PYTEST) tests

test-unit: dev-env ## the pure core, playbooks, properties
	@$(PYTEST) tests/unit tests/playbooks tests/golden tests/prompt_routes tests/test_layout.py tests/test_catalogue.py

test-integration: dev-env node ## real servers on loopback
	@$(PYTEST) tests/integration tests/hostile

test-cluster: dev-env $(NODE) ## helm install on a real Kubernetes node (MODELWAY_CLUSTER=kind or current: on that cluster)
	@$(PYTEST) tests/cluster

nightly: dev-env node ## the long runs of the cluster tests, about an hour: more kills, edits, restarts; their records go to docs/records
	@MODELWAY_NIGHTLY=1 $(PYTEST) tests/cluster

e2e-kind: dev-env ## the cluster tests on a kind cluster of their own (needs Docker, kind, kubectl, helm; sudo for two routes)
	@tools/e2e_kind.sh

generate: dev-env ## write CRDs, the chart's copy, the reference and the state diagram
	@$(BIN)/python tools/generate_crds.py
	@$(BIN)/python tools/draw_states.py

pictures: env ## take the pictures of the demo that the docs show, from a run of it
	@$(BIN)/python tools/picture_demo.py

verify: dev-env ## fail when a generated file is stale
	@echo "==> generated files"; $(BIN)/python tools/generate_crds.py --check && $(BIN)/python tools/draw_states.py --check

bench: dev-env ## measure the gateway beside nginx, about 5 minutes (QUICK=1: one round; BENCH_PYTHON=… runs it on another interpreter); needs nginx, cc and two quiet cores
	@$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(BENCH_PYTHON),--python $(BENCH_PYTHON))

bench-prompts: dev-env ## measure the prompt analysis: time by length, load, memory; needs one quiet core
	@$(BIN)/python tools/bench_prompts.py

lock: dev-env ## pin every dependency anew, with hashes
	@tools/lock.sh

images: ## build the images of operator, gateway and command line with buildah (BASE_IMAGE=… for another base)
	@for part in operator gateway cli; do \
	  buildah bud --file Dockerfile --target $$part --tag modelway-$$part:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	    $${BASE_IMAGE:+--build-arg BASE_IMAGE=$$BASE_IMAGE} . || exit 1; done
