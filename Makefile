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
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

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
constraints: ## pin requirements.in again (after a change there)
	@python3 -m venv $(CACHE)/uv && $(CACHE)/uv/bin/pip install --quiet uv
	@$(CACHE)/uv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	  --python-version 3.11 requirements.in --output-file constraints.txt

.PHONY: demo
demo: setup ## the main job, end to end, on real parts; CLOUD=nova for a real Nova
	@$(PY) -u -m testbed demo --cloud $(CLOUD)

.PHONY: up
up: setup ## the same parts, left running to be played with; CLOUD=nova for a real Nova
	@$(PY) -u -m testbed up --cloud $(CLOUD)

.PHONY: down
down: setup ## stop exactly what `make up` started
	@$(PY) -u -m testbed down

.PHONY: crds
crds: setup ## write crds/ from the models
	@$(PY) -m vmferry.resources.crd crds

.PHONY: format
format: setup ## format the code and mend what can be mended by itself
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

.PHONY: lint
lint: setup ## lint, format, strict types, import rules
	@echo "lint: ruff"; $(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@echo "lint: mypy --strict"; $(PY) -m mypy operator/vmferry testbed tests
	@echo "lint: import rules"; $(VENV)/bin/lint-imports --no-cache

.PHONY: test-unit
test-unit: setup ## tests that need no server; seconds
	@$(PY) -m pytest -q -m "not simulator and not kubernetes and not nova" $(ARGS)

# The real Nova mostly waits, so its tests run beside the others; their report comes last.
NOVA_LOG := $(CACHE)/test-nova.log
.PHONY: test-servers
test-servers: setup ## API, contract and end-to-end tests on the real Kubernetes API, the simulator and the real Nova
	@$(PY) -u -m testbed.kubernetes.install
	@$(PY) -u -m testbed.nova.install
	@$(PY) -m pytest -v -m nova $(ARGS) > $(NOVA_LOG) 2>&1 & nova=$$!; failed=; \
	$(PY) -m pytest -v -m "(simulator or kubernetes) and not nova" $(ARGS) || failed="$$failed simulator"; \
	while kill -0 $$nova 2>/dev/null; do echo "real Nova: $$(grep -c -E 'PASSED|FAILED|ERROR' $(NOVA_LOG)) tests done"; \
	  for i in $$(seq 30); do kill -0 $$nova 2>/dev/null && sleep 1 || break; done; done; \
	wait $$nova || failed="$$failed nova"; cat $(NOVA_LOG); \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# `make agreement N=200 SEED=8 SECONDS=1200`; SECONDS is bash's own, so only what make is given counts
N ?= 1000
SEED ?= 7
.PHONY: agreement
agreement: setup ## random requests: our verdicts against what a real Nova does; N=, SEED=, SECONDS=
	@$(PY) -u -m testbed.agreement --requests $(N) --seed $(SEED) $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: test
test: lint test-unit test-servers ## everything
