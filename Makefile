# `make demo` and `make test` are all a newcomer needs; both set up what they use, below the user's cache folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CLOUD ?= simulator
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vmferry
# a change of the pins makes a new environment; the old one stays for older checkouts
VENV := $(CACHE)/venv-$(shell sha256sum constraints.txt | cut -c1-12)
PY := $(VENV)/bin/python
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(VENV)/.ready ## the Python environment, pinned and hashed

$(VENV)/.ready: constraints.txt
	@echo "setup: Python environment in $(VENV)"
	@mkdir -p $(CACHE)
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@python3 -m venv $(VENV) || { echo "python3 -m venv failed: on Debian install the package python3-venv"; exit 1; }
	@$(PY) -m pip install --quiet --require-hashes --no-deps -r constraints.txt
	@touch $@

.PHONY: print-python
print-python: setup
	@echo $(PY)

.PHONY: constraints
constraints: ## pin requirements.in and release/tools.in again (after a change there)
	@python3 -m venv $(CACHE)/uv && $(CACHE)/uv/bin/pip install --quiet --require-hashes --no-deps -r release/tools.txt
	@for of in requirements.in:constraints.txt release/tools.in:release/tools.txt; do \
	  $(CACHE)/uv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	    --python-version 3.11 $${of%:*} --output-file $${of#*:}; done

.PHONY: demo
demo: setup ## the main job, end to end, on real parts; CLOUD=nova for a real Nova
	@$(PY) -u -m testbed demo --cloud $(CLOUD)

.PHONY: up
up: setup ## the same parts, left running to be played with; CLOUD=nova for a real Nova
	@$(PY) -u -m testbed up --cloud $(CLOUD)

.PHONY: down
down: setup ## stop exactly what `make up` started
	@$(PY) -u -m testbed down

.PHONY: generate
generate: setup ## write all that is generated: crds/, what of the chart and of docs/ follows from the code
	@$(PY) -m release.generate

.PHONY: crds chart reference
crds chart reference: generate

.PHONY: version
version: setup ## write what follows from the version, after setting it with V=0.2.0
	@$(PY) -m release.version $(V)
	@$(PY) -m release.generate

.PHONY: pictures
pictures: setup ## docs/pictures: kubectl ferry in a real terminal, at work
	@$(PY) -u -m testbed.pictures

.PHONY: dist
dist: setup ## all that a release hands out, in dist/: wheel, source, chart, install.yaml, plug-in, bill of materials, checksums
	@$(PY) -u -m release.dist

.PHONY: image
image: setup ## build the Dockerfile without Docker, run the image as the chart does, report its size; needs root
	@$(PY) -u -m testbed.image

.PHONY: node
node: setup ## the chart on a real node, from installation to uninstallation; needs root and some 10 minutes
	@$(PY) -u -m testbed.node

.PHONY: audit
audit: setup ## what the project depends on: pins, licences, imports and, where it is told, known vulnerabilities
	@$(PY) -u -m release.audit

.PHONY: format
format: setup ## format the code and mend what can be mended by itself
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

.PHONY: lint
lint: setup ## lint, format, strict types, import rules, words, the Dockerfile
	@echo "lint: ruff"; $(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@echo "lint: mypy --strict"; $(PY) -m mypy operator/vmferry testbed tests helm docs release
	@echo "lint: import rules"; $(VENV)/bin/lint-imports --no-cache
	@echo "lint: generated files"; $(PY) -m release.generate --check
	@echo "lint: words"; $(PY) -m docs.language
	@echo "lint: Dockerfile"; $(VENV)/bin/hadolint Dockerfile

.PHONY: test-unit
test-unit: setup ## the quick tests; they need no server
	@$(PY) -m pytest -q -m "not simulator and not kubernetes and not nova and not slow" $(ARGS)

.PHONY: install
install: setup ## what the tests run on: a Kubernetes API, built, a Nova and a Prometheus, installed; once
	@$(PY) -u -m testbed.kubernetes.install
	@$(PY) -u -m testbed.gitops.install
	@$(PY) -u -m testbed.nova.install
	@$(PY) -u -m testbed.prometheus

.PHONY: test-servers
test-servers: install ## API, contract and end-to-end tests on the real Kubernetes API, the simulator and the real Nova
	@$(PY) -m pytest -v -m "(simulator or kubernetes or nova) and not long" $(ARGS)

.PHONY: test-guests
test-guests: setup ## two hypervisor hosts with real guests (libvirt, QEMU) that report whether they ever stop; needs root
	@$(PY) -u -m testbed.guests -v -s $(ARGS)

.PHONY: drain50
drain50: install ## on the real Nova: 50 servers leave a host, 10 at a time; some three minutes
	@$(PY) -m pytest -q -s -m long tests/e2e/test_big_drain.py $(ARGS)

# `make agreement N=200 SEED=8 SECONDS=1200`; SECONDS is bash's own, so only what make is given counts.
# The real Nova unless a CLOUD is given: that is what the verdicts are about.
N ?= 1000
SEED ?= 7
.PHONY: agreement
agreement: setup ## random requests: our verdicts against a real Nova's deeds; N=, SEED=, SECONDS=, CLOUD=simulator
	@$(PY) -u -m testbed.agreement --cloud $(if $(filter file,$(origin CLOUD)),nova,$(CLOUD)) --requests $(N) --seed $(SEED) $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: crash
crash: setup ## the operator is killed at every effect of every kind of life, and started again; a minute
	@$(PY) -u -m testbed.crash

# `make storm SECONDS=600 SEED=1`; without a SEED it throws one, and says which
.PHONY: storm
storm: setup ## random faults in virtual time around the whole operator: does any rule break? SECONDS=, SEED=
	@$(PY) -u -m testbed.storm $(if $(filter command line,$(origin SECONDS)),--seconds $(SECONDS)) $(if $(filter command line,$(origin SEED)),--seed $(SEED))

# on real parts; begins no schedule later than after SECONDS; their seeds are SEED, SEED+1 and so on
.PHONY: chaos
chaos: setup ## the same with the operator's own process on real parts, behind proxies that fail; SECONDS=, SEED=, CLOUD=nova
	@$(PY) -u -m testbed.chaos --cloud $(CLOUD) $(if $(filter file,$(origin SEED)),,--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: bench
bench: setup ## what things cost, a line a figure against its goal (testbed/bench/README.md); ONLY=part of a name
	@$(PY) -u -m testbed.bench $(ONLY)

.PHONY: test
test: install ## everything; goes on after a failed part, and names all failures at its end
	@$(PY) -u -m tests.everything
