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
