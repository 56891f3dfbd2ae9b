# Every command brings its own set-up: the virtual environment is made once and again when its recipe changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
OLDEST := .venv-oldest
OLDEST_READY := $(OLDEST)/ready
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# What make check leaves to make test: whole scripts and pages, runs interrupted at every step, several processes, what is compiled, and
# proofs over thousands of steps.
LONG := acceptance resume distributed testing trainers/test_compiled_training.py optim/test_optim_adam_exact.py optim/test_optim_kernels.py models/test_zoo_slow.py $(addprefix engine/test_,compiled.py seams_resume.py seams_two_processes.py)

.PHONY: help demo test check docs oldest accuracy bench guard torture clean

help:
	@echo "make demo   train a DeepFM on real data, with early stopping and learning curves"
	@echo "make test   everything: lint, types, all tests, docs and examples"
	@echo "make check  lint, types, fast tests (before every commit)"
	@echo "make oldest  the fast tests and those of resume with the oldest versions of the core dependencies"
	@echo "make docs   write the API reference, docs/en/api, from the docstrings"
	@echo "make torture  kill 300 runs, resume them, and write the count into the docs"
	@echo "make accuracy  train every ranking model by the published protocol (hours; what is done is kept)"
	@echo "make bench  accuracy and speed, side by side with peers"
	@echo "make guard  whether a training step has become slower (a minute)"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0 -e ".[dev]"
	@touch $@

$(OLDEST_READY): pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e ".[dev]"
	@touch $@

demo: $(READY)
	$(BIN)/python examples/adult_deepfm.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright & types=$$!; $(ONE_THREAD) $(BIN)/python -m pytest -n 2 $(LONG:%=--ignore=tests/%); tests=$$?; wait $$types && exit $$tests

docs: $(READY)
	$(BIN)/python docs/write_api.py

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 tests torch_rechub --doctest-modules

# The tests of resume as well: they are those of safetensors.
oldest: $(OLDEST_READY)
	$(ONE_THREAD) $(OLDEST)/bin/python -m pytest -n 2 --ignore=tests/acceptance --ignore=tests/distributed

accuracy: $(READY)
	$(BIN)/python -m benchmarks.accuracy --write

bench: $(READY)
	$(BIN)/python -m benchmarks.accuracy DeepFM
	$(BIN)/python -m benchmarks.speed

guard: $(READY)
	$(ONE_THREAD) $(BIN)/python -m benchmarks.guard

torture: $(READY)
	$(ONE_THREAD) $(BIN)/python -W error -m benchmarks.torture --runs 300 --write

clean:
	rm -rf $(VENV) $(OLDEST) .pytest_cache .ruff_cache .hypothesis build *.egg-info
