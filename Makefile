# Everything a user or a developer runs. The first target of a fresh clone installs a virtual environment.
.DEFAULT_GOAL := help
.PHONY: help demo test rtl pynq driver service fuzz lint docs bench screenshot clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTEST_ARGS ?=

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(STAMP) ## classify a real photo with the shipped 4-bit network, every step checked
	$(BIN)/python scripts/demo.py --out build/demo

# A process of tests for each core, so none of them needs more threads.
test: $(STAMP) ## run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

rtl: $(STAMP) ## simulate the shipped networks in RTL, every layer and the whole, on a photo (under an hour)
	$(BIN)/python scripts/verify_rtl.py --out build/rtl

pynq: $(STAMP) ## the driver's tests under pynq 2.7, 3.0.1, 3.1.2 and 4.0.0, in environments of their own
	FIREFLOW_PYNQ=part $(BIN)/python -m pytest tests/host/devices/test_pynq_versions.py \
		tests/hw/bitstream/test_open_on_board.py

driver: $(STAMP) ## the driver for long: 1000 real images, 100 around every fault, 100,000 frames in flat memory
	$(BIN)/python scripts/check_driver.py

service: $(STAMP) ## the HTTP service for long: 800 requests around every fault, ten minutes of hostile clients
	$(BIN)/python -m scripts.check_service

fuzz: $(STAMP) ## a million changed inputs over every reader of files, guided by coverage (some ten minutes)
	$(BIN)/python scripts/fuzz.py

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(STAMP) ## the documents as a site in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## measure the simulators, qonnx, FINN and ONNX Runtime on the same images
	$(BIN)/fireflow bench simulator

screenshot: $(STAMP) ## docs/serve.png, the page of `fireflow serve` in an installed Chromium
	$(BIN)/python scripts/screenshot.py

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find quant hw host tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
ifeq ($(strip $(PYTHON)),)
	$(error Python 3.11 or newer must be installed, and neither python3.11 nor python3 is; \
	install it or run `make PYTHON=/path/to/python3.11`)
endif
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	touch $@
