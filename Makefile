# Slipway's verbs, a line each: they call `slipway COMMAND RUN`, which has every option. `make demo` runs the whole way.
#
#   RUN=runs/agnews  NP=2  HOSTS=  CORPUS=  ENCODER=.tools/encoder  EPOCHS=3  TRAIN_ROWS=  GOLDEN_ROWS=  RESUME=
#   TRAIN_ARGS=  (what else slipway train --help has)  TEXT=  SECOND=  PORT=8000  PYTHON=python3.11
#   SAVED_MODEL=  VOCAB=  LABELS=  GOLDEN=  IMPORT_ARGS=  UNLABELLED=  (more texts to compare, without labels)  P99=100  RATE=  PUBLISHED=  VERSION=
#   A=  B=  (runs to compare)  BENCH=quick  PRICE=  (of this machine, an hour)  BENCH_ARGS=  (what else slipway bench --help has)
#   REPOSITORY_ARGS=  (what else slipway build --help has; make tune finds some)

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
UNLABELLED ?=
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
# Values reach the programs as they were typed: make would expand a $ in them, and a shell a quote. *_ARGS are words of a shell.
AS_TYPED := RUN NP HOSTS CORPUS ENCODER MAX_SEQ_LEN EPOCHS RESUME TRAIN_ROWS GOLDEN_ROWS UNLABELLED TEXT SECOND PORT SAVED_MODEL VOCAB \
    LABELS GOLDEN P99 RATE PUBLISHED VERSION A B BENCH PRICE PYTHON $(if $(filter-out undefined,$(origin AG_NEWS_DIR)),AG_NEWS_DIR)
$(foreach name,$(AS_TYPED),$(eval override $(name) := $$(value $(name))))
q = '$(subst ','\'',$($1))'
# These two may have several lines, which no line of a recipe has; programs look for the third.
export TEXT SECOND $(filter AG_NEWS_DIR,$(AS_TYPED))
# RUN is also the name of files that make makes.
HASH := \#
UNFIT_FOR_MAKE := $$ % : ; = * ? [ ] & | \ $(HASH)
UNFIT := $(strip $(foreach sign,$(UNFIT_FOR_MAKE),$(findstring $(sign),$(RUN))))
ifneq ($(words $(RUN))$(UNFIT),1)
$(error to make, RUN=$(call q,RUN) is no name of a file. Take one without spaces and $(UNFIT_FOR_MAKE), or the commands themselves: .venv/bin/slipway COMMAND $(call q,RUN))
endif
PY := .venv/bin/python
SLIPWAY := .venv/bin/slipway
DATA = --corpus $(call q,CORPUS) --encoder $(call q,ENCODER) --processes $(call q,NP) --hosts $(call q,HOSTS) \
    --max-seq-len $(call q,MAX_SEQ_LEN) --epochs $(call q,EPOCHS) --train-rows $(call q,TRAIN_ROWS) $(TRAIN_ARGS)
MORE_GOLDEN = $(if $(UNLABELLED),--unlabelled $(call q,UNLABELLED))
TRAIN = $(SLIPWAY) train $(call q,RUN) --golden-rows $(call q,GOLDEN_ROWS) $(MORE_GOLDEN) $(DATA) $(if $(RESUME),--resume)
BENCHMARK = $(SLIPWAY) bench $(call q,RUN) --setting $(call q,BENCH) --p99-ms $(call q,P99) $(if $(PRICE),--price-per-hour $(call q,PRICE)) $(BENCH_ARGS)
# 11: some variants passed. They are built and served; what did not is left out, and was shown.
EXPORT = $(SLIPWAY) export $(call q,RUN) || { status=$$?; [ $$status -eq 11 ] || exit $$status; }
# make -n runs a line that calls make, too.
DEMO_REPORT = $(if $(findstring n,$(firstword -$(MAKEFLAGS))),:,$(SLIPWAY) report runs/demo)
BUILD = $(SLIPWAY) build $(call q,RUN) $(REPOSITORY_ARGS)

# A name that is nearly one of these is a mistake; others may be meant for what the commands read, such as CUDA_VISIBLE_DEVICES.
KNOWN := RUN NP HOSTS CORPUS ENCODER MAX_SEQ_LEN EPOCHS RESUME TRAIN_ARGS TRAIN_ROWS GOLDEN_ROWS TEXT SECOND PORT PYTHON SAVED_MODEL \
    VOCAB LABELS GOLDEN IMPORT_ARGS UNLABELLED P99 RATE PUBLISHED VERSION A B BENCH PRICE BENCH_ARGS REPOSITORY_ARGS AG_NEWS_DIR
GIVEN := $(foreach name,$(filter-out $(KNOWN),$(.VARIABLES)),$(if $(filter command,$(origin $(name))),$(name)))
NEAREST = import difflib, sys; known, given = [words.split() for words in sys.argv[1:]]; \
    print(*(f"{name}= is no variable here: {near[0]}= is." for name in given if (near := difflib.get_close_matches(name.upper(), known, 1, 0.8))))
ifneq ($(strip $(GIVEN)),)
MISTAKES := $(shell $(call q,PYTHON) -c '$(NEAREST)' '$(KNOWN)' '$(GIVEN)')
ifneq ($(MISTAKES),)
$(error $(MISTAKES) `make help` lists the verbs, the head of the Makefile the variables)
endif
endif

.PHONY: help setup demo train measure profile scaling export repository tune verify publish promote rollback status serve ask bench peers report compare doctor test test-fast test-gpu check docs bare lock clean
# No .DELETE_ON_ERROR: records are written whole, and kept when they say FAILED; what is made anew hangs on the marks below.
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?(.*)/\1\t\2/' | while IFS="$$(printf '\t')" read -r verb words; do \
	    printf '  %-12s' "$$verb"; printf '%s\n' "$$words" | fold -s -w 66 | sed '2,$$s/^/              /; s/ *$$//'; done

setup:  ## everything Slipway needs, into .venv and .tools (again: nothing to do)
	@bash scripts/bootstrap.sh

demo: setup  ## the whole way on AG News: train, convert, compare, serve, measure, report
	@$(MAKE) --no-print-directory RUN=runs/demo EPOCHS=1 TRAIN_ROWS=4000 GOLDEN_ROWS=3000 runs/demo/.measured; \
	    measured=$$?; [ ! -e runs/demo/bundle/bundle.json ] || $(DEMO_REPORT) || exit; exit $$measured

train: setup  ## fine-tune ENCODER on CORPUS with NP Horovod processes, or on HOSTS=a:2,b:2 → RUN/bundle; RESUME=1 goes on
	@$(TRAIN)

measure: setup  ## how fast training runs here, and how much of the machine it uses → RUN/training_speed.json
	@$(SLIPWAY) analyze throughput $(call q,RUN) $(DATA)

profile: setup  ## where the time of a training step goes: a TensorBoard trace and a table of operations → RUN/profile.json
	@$(SLIPWAY) analyze profile $(call q,RUN) $(DATA)

scaling: setup  ## what ranks, compression, XLA, bfloat16 and length buckets gain here (15 minutes) → benchmarks/records/scaling.json
	@$(PY) -m benchmarks.training.speed --scaling --corpus $(call q,CORPUS) --encoder $(call q,ENCODER)

export: setup  ## convert RUN/bundle (or SAVED_MODEL= VOCAB= LABELS= GOLDEN=) into every variant, and compare → RUN/artifacts
	@$(if $(SAVED_MODEL),$(SLIPWAY) import $(call q,RUN) --saved-model $(call q,SAVED_MODEL) $(if $(VOCAB),--vocab $(call q,VOCAB)) $(if $(LABELS),--labels $(call q,LABELS)) --golden $(call q,GOLDEN) $(MORE_GOLDEN) --max-seq-len $(call q,MAX_SEQ_LEN) $(IMPORT_ARGS))
	@$(EXPORT)

repository: setup  ## compile the artifacts that passed into a Triton repository → RUN/model_repository
	@$(BUILD)

tune: setup  ## the cheapest engine, processes and threads that answer 99 of 100 texts within P99 ms, RATE texts/s → RUN/tuning.json
	@$(SLIPWAY) tune $(call q,RUN) --p99-ms $(call q,P99) $(if $(RATE),--rate $(call q,RATE))

verify: setup  ## compare the live server's answers with the SavedModel's → RUN/served.json
	@rm -f $(call q,RUN)/.verified $(call q,RUN)/.measured; $(SLIPWAY) verify $(call q,RUN)

publish: setup  ## RUN/model_repository as the next version of model_repository/; refused without passing parity
	@$(SLIPWAY) publish $(call q,RUN)

promote: setup  ## try the newest version (or VERSION=) beside the one that is served, and switch to it if it holds
	@$(SLIPWAY) promote $(if $(VERSION),--version $(call q,VERSION))

rollback: setup  ## back to the version that was served before
	@$(SLIPWAY) rollback

status: setup  ## what is published, what of it is served, what was done last
	@$(SLIPWAY) status

serve: setup  ## run Triton on RUN, or with PUBLISHED=1 on model_repository/, until Ctrl-C (loopback, ports PORT to PORT+2)
	@$(SLIPWAY) serve $(if $(PUBLISHED),--published,$(call q,RUN)) --port $(call q,PORT)

ask: setup  ## classify TEXT (of a pair also SECOND) on the running server, over HTTP and gRPC
	@$(SLIPWAY) ask --port $(call q,PORT) $(if $(SECOND),--second "$$SECOND") -- "$$TEXT"

bench: setup  ## measure RUN's models and two baselines with perf_analyzer; BENCH=quick or full → RUN/benchmark.json
	@rm -f $(call q,RUN)/.measured; $(BENCHMARK)

peers: setup .tools/peers/ready  ## what a user would pick instead, beside it: PyTriton, FastAPI, TensorFlow (10 minutes)
	@$(PY) -m benchmarks.peers.measure --run $(call q,RUN)

report: setup  ## render RUN's records → RUN/report.html
	@$(SLIPWAY) report $(call q,RUN)

compare: setup  ## two runs of one corpus, A= and B=, side by side → B/compare.html
	@$(SLIPWAY) compare $(call q,A) $(call q,B)

doctor:  ## what this machine can run, what is missing, and the command that provides it
	@for python in $(PY) $(call q,PYTHON) python3.12 python3.13 python3; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then exec "$$python" -m slipway.cli doctor; fi; done; \
	    printf 'MISSING  Python 3.11: none from 3.10 on is here, so that nothing else was looked for\n         apt-get install python3.11\n'; exit 1

test: setup  ## all tests, with one tiny model through real Horovod processes and a real Triton
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder  # by number of tests, the slow files with few would come last

test-fast: setup  ## the tests that start no server, no Horovod and no training: under 90 s
	@$(PY) -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

reliability: setup  ## every experiment in faults and load, alone on this machine → docs/reliability.md
	@rm -rf .tools/reliability; $(PY) -m pytest -m "experiment and not gpu" --lines .tools/reliability; \
	    tested=$$?; [ $$tested -le 1 ] || exit $$tested; rm -rf benchmarks/records/reliability; mkdir benchmarks/records/reliability && \
	    cp .tools/reliability/*.jsonl benchmarks/records/reliability && $(PY) -m benchmarks.tables && exit $$tested  # above 1: cut off

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

docs: setup  ## these pages as a site → site/index.html; a link that leads nowhere is an error
	@$(PY) -m sphinx -q -W --keep-going -c docs -d .tools/doctrees . site
	@echo "site/index.html"

bare:  ## demo and test in a fresh clone, in a Debian with nothing but g++, make, git and Python, without root (80 minutes; needs root to make it)
	@bash scripts/bare.sh "make demo" "make test"

lock: setup  ## resolve the requirement files anew
	@bash scripts/lock.sh

clean:  ## remove what was built, but not runs/
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache

# 2 GB. pip sync brings what is there up to date, so that it is made once.
.tools/peers/ready: requirements/peers.txt | setup
	@echo "peers       into .tools/peers"
	@[ -x .tools/peers/bin/python ] || .tools/uv/bin/uv venv --quiet --python $(call q,PYTHON) --no-python-downloads .tools/peers
	@UV_CACHE_DIR=$(CURDIR)/.tools/cache/uv .tools/uv/bin/uv pip sync --quiet --python .tools/peers/bin/python --require-hashes $<
	@touch $(call q,@)

# The stages as files: what is newer than what it was made from is not made again. A trained model is never trained again because
# code changed; ask for that with `make train`. Other settings than the last time are another model.
SETTINGS := $(CORPUS)|$(AG_NEWS_DIR)|$(ENCODER)|$(NP)|$(HOSTS)|$(TRAIN_ROWS)|$(GOLDEN_ROWS)|$(MAX_SEQ_LEN)|$(EPOCHS)|$(TRAIN_ARGS)$(if $(UNLABELLED),|$(UNLABELLED))
$(RUN)/.settings: FORCE
	@mkdir -p $(call q,RUN); printf '%s\n' $(call q,SETTINGS) | cmp -s - $(call q,@) || printf '%s\n' $(call q,SETTINGS) >$(call q,@)
FORCE:

$(RUN)/bundle/bundle.json: $(RUN)/.settings
	@$(TRAIN) --force

$(RUN)/artifacts/export.json: $(RUN)/bundle/bundle.json
	@$(EXPORT)

$(RUN)/model_repository/repository.json: $(RUN)/artifacts/export.json
	@$(BUILD)

$(RUN)/.verified: $(RUN)/model_repository/repository.json
	@$(SLIPWAY) verify $(call q,RUN)
	@touch $(call q,@)

$(RUN)/.measured: $(RUN)/.verified
	@$(BENCHMARK)
	@touch $(call q,@)
