# Slipway's verbs. Each stage reads a directory of runs/<name>/ and writes one; `make demo` runs them all.
#
#   RUN=runs/agnews  NP=2  HOSTS=  CORPUS=  ENCODER=.tools/encoder  EPOCHS=3  TRAIN_ROWS=  GOLDEN_ROWS=  RESUME=
#   TRAIN_ARGS=  (what else python -m train.finetune --help has)  TEXT=  SECOND=  PORT=8000  PYTHON=python3.11
#   SAVED_MODEL=  VOCAB=  LABELS=  GOLDEN=  P99=100  RATE=  PUBLISHED=  VERSION=
#   A=  B=  (runs to compare)  BENCH=quick  PRICE=  (of this machine, an hour)  BENCH_ARGS=  (what else python -m serving.benchmark --help has)
#   REPOSITORY_ARGS=  (what else python -m serving.build_repository --help has; make tune finds some)

PYTHON ?= python3.11
RUN ?= runs/agnews
NP ?= 2
HOSTS ?=
CORPUS ?=
ENCODER ?= .tools/encoder
MAX_SEQ_LEN ?= 128
EPOCHS ?= 3
RESUME ?=
TRAIN_ARGS ?=
TRAIN_ROWS ?= 0
GOLDEN_ROWS ?= 0
PORT ?= 8000
P99 ?= 100
BENCH ?= quick
PRICE ?=
BENCH_ARGS ?=
RATE ?=
REPOSITORY_ARGS ?=
TEXT ?= Oil prices fall as OPEC raises output

export PYTHON
# Keras would write its settings into the home directory.
export KERAS_HOME := $(CURDIR)/.tools/keras
export TF_CPP_MIN_LOG_LEVEL ?= 3
PY := .venv/bin/python

.PHONY: help setup demo train measure profile scaling export repository tune verify publish promote rollback status serve ask bench peers report compare doctor test test-gpu check lock clean
# No .DELETE_ON_ERROR: records are written whole, and kept when they say FAILED; what is made anew hangs on the marks below.
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?(.*)/  \1\t\2/' | expand -t 14

setup:  ## everything Slipway needs, into .venv and .tools (again: nothing to do)
	@bash setup/bootstrap.sh

demo: setup  ## the whole way on AG News: train, convert, compare, serve, measure, report
	@$(MAKE) --no-print-directory RUN=runs/demo EPOCHS=1 TRAIN_ROWS=4000 GOLDEN_ROWS=4000 runs/demo/.measured
	@$(PY) -m serving.report --run runs/demo

train: setup  ## fine-tune ENCODER on CORPUS with NP Horovod processes, or on HOSTS=a:2,b:2 → RUN/bundle; RESUME=1 goes on
	$(TRAIN)

measure: setup  ## how fast training runs here, and how much of the machine it uses → RUN/training_speed.json
	@$(PY) -m train.measure --out $(RUN)/training_speed.json $(TRAIN_FLAGS)

profile: setup  ## where the time of a training step goes: a TensorBoard trace and a table of operations → RUN/profile.json
	@$(PY) -m train.profile_step --run $(RUN) $(TRAIN_FLAGS)

scaling: setup  ## what ranks, compression, XLA, bfloat16 and length buckets gain here (15 minutes) → benchmarks/records/scaling.json
	@$(PY) -m benchmarks.training.speed --scaling --corpus "$(CORPUS)" --encoder "$(ENCODER)"

export: setup  ## convert RUN/bundle (or SAVED_MODEL= VOCAB= LABELS= GOLDEN=) into every variant, and compare → RUN/artifacts
	$(ADOPT)
	$(EXPORT)

repository: setup  ## compile the artifacts that passed into a Triton repository → RUN/model_repository
	$(REPOSITORY)

tune: setup  ## the cheapest engine, processes and threads that answer 99 of 100 texts within P99 ms, RATE texts/s → RUN/tuning.json
	@$(PY) -m serving.tune --run $(RUN) --p99-ms $(P99) $(if $(RATE),--rate $(RATE))

verify: setup  ## compare the live server's answers with the SavedModel's → RUN/served.json
	$(VERIFY)

publish: setup  ## RUN/model_repository as the next version of model_repository/; refused without passing parity
	@$(PY) -m serving.publish $(RUN)

promote: setup  ## try the newest version (or VERSION=) beside the one that is served, and switch to it if it holds
	@$(PY) -m serving.promote $(if $(VERSION),--version $(VERSION))

rollback: setup  ## back to the version that was served before
	@$(PY) -m serving.rollback

status: setup  ## what is published, what of it is served, what was done last
	@$(PY) -m serving.status

serve: setup  ## run Triton on RUN/model_repository, or with PUBLISHED=1 on model_repository/, until Ctrl-C (loopback, ports PORT to PORT+2)
	@$(PY) -m serving.serve $(if $(PUBLISHED),--published model_repository,--run $(RUN)) --port $(PORT)

ask: setup  ## classify TEXT (of a pair also SECOND) on the running server, over HTTP and gRPC
	@$(PY) -m serving.ask --port $(PORT) $(if $(SECOND),--second "$$SECOND") -- "$$TEXT"

bench: setup  ## measure RUN's models and two usual baselines with perf_analyzer; BENCH=quick or full → RUN/benchmark.json
	$(MEASURE_SERVED)

peers: setup .tools/peers/ready  ## what a user would pick instead, beside it: PyTriton, FastAPI, TensorFlow (10 minutes) → benchmarks/records/peers.json
	@$(PY) -m benchmarks.peers.measure --run $(RUN)

report: setup  ## render RUN's records → RUN/report.html
	$(REPORT)

compare: setup  ## two runs of one corpus, A= and B=, side by side → B/compare.html
	@$(PY) -m serving.compare $(A) $(B)

doctor:  ## what this machine can run, what is missing, and the command that provides it
	@if [ -x $(PY) ]; then $(PY) -m setup.doctor; else $(PYTHON) -m setup.doctor; fi

test: setup  ## all tests, with one tiny model through real Horovod processes and a real Triton
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder  # by number of tests, the slow files with few would come last

test-gpu:  ## acceptance on a GPU: CUDA variants, TensorRT, TF-TRT (PY=.tools/gpu/bin/python; in NVIDIA's container PY=python3)
	@$(PY) -m pytest -m gpu -rs -W default tests/gpu

check: setup  ## format, lint, types, import rules: what CI runs before the tests
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@failed=; for api in .tools/tensorrt/*; do echo "TensorRT $$(basename $$api), its real API:"; \
	    MYPYPATH=$$api/stubs .venv/bin/mypy --cache-dir .mypy_cache/tensorrt-$$(basename $$api) export/runtime/tensorrt.py tests/gpu || failed=1; \
	done; [ -z "$$failed" ]
	@$(PY) -m pytest -q tests/test_layout.py

lock: setup  ## resolve the requirement files anew
	@bash setup/lock.sh

clean:  ## remove what was built, but not runs/
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache

# 2 GB. pip sync brings what is there up to date, so that it is made once.
.tools/peers/ready: benchmarks/peers/requirements.txt | setup
	@echo "peers       into .tools/peers"
	@[ -x .tools/peers/bin/python ] || .tools/uv/bin/uv venv --quiet --python $(PYTHON) --no-python-downloads .tools/peers
	@UV_CACHE_DIR=$(CURDIR)/.tools/cache/uv .tools/uv/bin/uv pip sync --quiet --python .tools/peers/bin/python --require-hashes $<
	@touch $@

# The stages as files: what is newer than what it was made from is not made again. A trained model is never trained again because code changed;
# ask for that with `make train`.

# As it was typed: make would expand a $ in it.
override TEXT := $(value TEXT)
override SECOND := $(value SECOND)
export TEXT SECOND
TRAIN_FLAGS = --corpus "$(CORPUS)" --encoder "$(ENCODER)" --processes $(NP) --hosts "$(HOSTS)" --max-seq-len $(MAX_SEQ_LEN) \
    --epochs $(EPOCHS) --train-rows $(TRAIN_ROWS) $(TRAIN_ARGS)
TRAIN = @$(PY) -m train.finetune --out $(RUN)/bundle --golden-rows $(GOLDEN_ROWS) $(TRAIN_FLAGS) $(if $(RESUME),--resume)
ADOPT = $(if $(SAVED_MODEL),@$(PY) -m export.adopt --saved-model "$(SAVED_MODEL)" --vocab "$(VOCAB)" --labels "$(LABELS)" \
    --golden "$(GOLDEN)" --out $(RUN)/bundle --max-seq-len $(MAX_SEQ_LEN))
EXPORT = @$(PY) -m export.convert --run $(RUN)
REPOSITORY = @$(PY) -m serving.build_repository --run $(RUN) $(REPOSITORY_ARGS)
VERIFY = @rm -f $(RUN)/.verified $(RUN)/.measured; $(PY) -m serving.verify_served --run $(RUN)
MEASURE_SERVED = @rm -f $(RUN)/.measured; $(PY) -m serving.benchmark --run $(RUN) --setting $(BENCH) --p99-ms $(P99) \
    $(if $(PRICE),--price-per-hour $(PRICE)) $(BENCH_ARGS)
REPORT = @$(PY) -m serving.report --run $(RUN)

# Other settings than the last time are another model.
SETTINGS := $(CORPUS)|$(AG_NEWS_DIR)|$(ENCODER)|$(NP)|$(HOSTS)|$(TRAIN_ROWS)|$(GOLDEN_ROWS)|$(MAX_SEQ_LEN)|$(EPOCHS)|$(TRAIN_ARGS)
$(RUN)/.settings: FORCE
	@mkdir -p $(RUN); echo '$(SETTINGS)' | cmp -s - $@ || echo '$(SETTINGS)' >$@
FORCE:

$(RUN)/bundle/bundle.json: $(RUN)/.settings
	$(TRAIN)

$(RUN)/artifacts/export.json: $(RUN)/bundle/bundle.json
	$(EXPORT)

$(RUN)/model_repository/repository.json: $(RUN)/artifacts/export.json
	$(REPOSITORY)

$(RUN)/.verified: $(RUN)/model_repository/repository.json
	$(VERIFY)
	@touch $@

$(RUN)/.measured: $(RUN)/.verified
	$(MEASURE_SERVED)
	@touch $@
