# Everything on a fresh machine with Python (3.11 or newer) and make: `make demo`, `make test`.

VENV    ?= .venv
BACKEND ?= jax,torch,tensorflow
TEST    ?=
ARGS    ?=
WORKERS ?= $(if $(TEST),0,2)
PYTHON  ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

python   = $(VENV)/bin/python
pytest   = $(python) tools/run_tests.py $(BACKEND) $(if $(filter-out 0,$(WORKERS)),-n $(WORKERS) --dist worksteal)
versions = pyproject.toml constraints.txt

.PHONY: help demo test test-all test-nightly test-wheels lint format docs clean
.DELETE_ON_ERROR:

help:  ## show this list
	@echo 'make demo         install the JAX backend, train the small title generator, show what it writes'
	@echo 'make test         install all three backends, run the tests on each'
	@echo '                  daily: make test BACKEND=jax TEST=tests/core/test_selectors.py ARGS="-k glob"'
	@echo 'make test-all     the same with the slow tests'
	@echo 'make test-nightly test the core with the newest Keras, in an environment of its own'
	@echo 'make test-wheels  install the wheel beside each backend alone, and use it there'
	@echo 'make lint         check format, style and types'
	@echo 'make format       put the code into shape'
	@echo 'make docs         build the pages of docs/ into site/; open site/index.html, no network needed'
	@echo 'make clean        remove caches and the environment $(VENV)'

demo: $(VENV)/installed-demo
	KERAS_BACKEND=jax $(python) -m kooler demo $(ARGS)

test: $(VENV)/installed-test
	@$(pytest) $(TEST) $(ARGS)

test-all: $(VENV)/installed-test
	@$(pytest) -m "" $(TEST) $(ARGS)

test-nightly: $(VENV)/installed-test
	@$(python) tools/nightly.py $(VENV)-nightly $(BACKEND) $(TEST) $(ARGS)

test-wheels: $(VENV)/installed-test
	@$(python) tools/wheels.py $(VENV)-wheel $(BACKEND)

lint: $(VENV)/installed-test
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	$(python) -m mypy

format: $(VENV)/installed-test
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

docs: $(VENV)/installed-test
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict --quiet
	@echo 'kooler: open site/index.html'

clean:
	rm -rf $(VENV) $(VENV)-nightly $(VENV)-wheel-* site .pytest_cache .mypy_cache .ruff_cache build dist

$(VENV)/installed-demo: $(versions) | some-python
	@$(PYTHON) tools/environment.py $(VENV) jax,seq2seq
	@touch $@

$(VENV)/installed-test: $(versions) | some-python
	@$(PYTHON) tools/environment.py $(VENV) backends,seq2seq,dev
	@touch $@

.PHONY: some-python
some-python:
	@test -n "$(PYTHON)" || { echo 'kooler: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3 …' >&2; exit 1; }
