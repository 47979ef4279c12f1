# Two commands: `make train` trains the default generator, `make test` runs those tests that take little time,
# `make test-all` all of them. Each sets up .venv where it is missing and leaves it there. PYTHON names the interpreter
# to set it up with.

PYTHON ?= python3
CONFIG ?= digits
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Networks that are too large for `make test`; each takes at most three minutes and 8 GB.
ZOO := resnet32 $(addprefix torchvision:,resnet18 vgg11_bn mobilenet_v3_small squeezenet1_1 densenet121 \
	shufflenet_v2_x0_5 efficientnet_b0)

.PHONY: train test test-all coverage zoo lint docs site clean

train: $(READY)
	$(BIN)/hyperframe train $(CONFIG)

# One thread for each of the two workers and their processes: two that spin beside other work make a step take seconds.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -n 2

test: $(READY)
	$(PYTEST) -m "not slow"

test-all: $(READY)
	$(PYTEST) --durations 25

# All tests, half as long again: the part of the library's statements that they run, not counting other processes.
coverage: $(READY)
	$(PYTEST) --cov hyperframe --cov-report term:skip-covered --cov-fail-under 97

zoo: $(READY)
	for name in $(ZOO); do OMP_NUM_THREADS=1 $(BIN)/hyperframe check $$name || exit 1; done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

docs: $(READY)
	$(BIN)/python docs/generate.py

# The pages as a site, build/site/index.html. Tutorials run where their code changed since; a warning is an error.
site: $(READY)
	$(BIN)/python -m sphinx -q -W --keep-going -c docs/site -d build/doctrees . build/site

clean:
	rm -rf $(VENV) build dist *.egg-info

# Made again where dependencies, entry points or the plugins' projects change.
$(READY): pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("hyperframe needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' $(foreach plugin,$(wildcard plugins/*/pyproject.toml),-e $(dir $(plugin)))
	touch $(READY)
