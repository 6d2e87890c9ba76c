# make demo | test | check: each sets up what it needs. Another interpreter: make test PYTHON=python3.12
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
OUT ?= runs
# a comma would end an argument of PIP
EXTRAS := dev,flow,onnx
BIN := $(VENV)/bin
# pip warns of every local folder that it skips; those lines say nothing
PIP = $(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2) 2> >(grep -v 'is ignored' >&2)
STAMP := $(shell date +%F)_$(shell git rev-parse --short HEAD 2> /dev/null || echo none)_$(shell nproc --all 2> /dev/null || echo some)cores
# demo, real_input, methods, images and study (and what is measured of them), rho_in_time and keep_best take an hour, alarms judges
# what study left, cifar10 needs a GPU: `make bench BENCHMARKS=demo`
BENCHMARKS ?= $(filter-out _% tables torchvision_shim alarms demo real_input methods measures_and_accuracy measures_within choices images study rho_in_time keep_best cifar10,$(basename $(notdir $(wildcard benchmarks/*.py))))
# `make bench TINY=1` sees whether everything runs; its figures mean nothing, so they stay out of the documents
TINY ?=
RESULTS := $(if $(TINY),$(OUT)/bench-tiny,benchmarks/results)
export PEERS

.PHONY: help install demo demo-tiny test test-full check format bench docs test-peers clean

help:
	@echo 'make demo         install, then train on the embedded world and write a report (minutes)'
	@echo 'make test         install, then run every test that needs neither a GPU nor a network'
	@echo 'make test-full    make test, then train every method beside random weights (an hour)'
	@echo 'make check        formatting, lint, types, generated tables'
	@echo 'make format       put the code into its format'
	@echo 'make demo-tiny    the demo at a size for continuous integration (about a minute)'
	@echo 'make bench        measure speed against other libraries, in an environment of their own (TINY=1: see that it runs)'
	@echo 'make test-peers   the tests that compare with other libraries'
	@echo 'make docs         write the generated tables of the documents again'
	@echo 'make clean        remove caches (environments and runs stay)'

# The stamps make a second call skip the installation until pyproject.toml or constraints.txt change.
install: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fullrank needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo 'installing fullrank into $(VENV) (a few minutes the first time)'
	@$(call PIP,$(VENV),-c constraints.txt -e .)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo 'installing what tests and linters need'
	@$(call PIP,$(VENV),-c constraints.txt -e '.[$(EXTRAS)]')
	@touch $@

$(PEERS)/bin/python:
	$(PYTHON) -m venv $(PEERS)

# They stay out of $(VENV): a torchvision built for GPUs breaks other packages by being there.
$(PEERS)/.installed: constraints.txt benchmarks/peers.txt benchmarks/peers-alone.txt | $(PEERS)/bin/python
	@echo 'installing the libraries to compare with into $(PEERS)'
	@$(call PIP,$(PEERS),-c constraints.txt -r benchmarks/peers.txt)
	@$(call PIP,$(PEERS),-c constraints.txt --no-deps -r benchmarks/peers-alone.txt)
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/fullrank demo --out $(OUT)/demo

demo-tiny: $(VENV)/.installed
	$(BIN)/fullrank demo --tiny --out $(OUT)/demo-tiny

# a process a core; each test computes on one thread
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python benchmarks/tables.py --check

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed
	$(BIN)/python benchmarks/tables.py

# One result file a script; `make bench BENCHMARKS=views` runs one of them. What has no data, or nothing to compare with, says
# so and is left out; what fails is named at the end.
bench: $(VENV)/.installed
	@$(MAKE) --no-print-directory $(PEERS)/.installed || echo 'the other libraries are not (all) there: see what is skipped'
	@stamp=$$(mktemp); files=; without=; failed=; \
	for name in $(BENCHMARKS); do \
	  echo "== $$name"; file=$(RESULTS)/$(STAMP)_$$name.json; \
	  $(BIN)/python benchmarks/$$name.py --out "$$file" $(if $(TINY),--tiny) || failed="$$failed $$name"; \
	  if [ "$$file" -nt "$$stamp" ]; then files="$$files $$file"; else without="$$without $$name"; fi; \
	done; \
	rm -f "$$stamp"; $(BIN)/python benchmarks/tables.py; \
	echo '== summary'; $(BIN)/python benchmarks/_result.py $$files; \
	if [ -n "$$without" ]; then echo "without a result, see above why:$$without"; fi; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

# every method, three seeds, beside random weights on the embedded world: an hour; what is in $(OUT)/methods is not run again
test-full: test
	$(BIN)/python benchmarks/methods.py --work $(OUT)/methods --figure docs/images/methods.svg \
	  --out benchmarks/results/$(STAMP)_methods.json
	$(BIN)/python benchmarks/tables.py

test-peers: $(VENV)/.installed-dev $(PEERS)/.installed
	$(BIN)/python -m pytest -m peers

clean:
	rm -rf .pytest_cache .ruff_cache .mypy_cache build dist
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
