# make help

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint parity seams engine overhead scale memory rest chaos webhooks polls fair archive batch schema up clean

PYTHON ?=
TORCH_INDEX ?=
export PYTHON TORCH_INDEX

STAMPS := .venv/.stamps
PY := .venv/bin/python

# A broken environment heals itself: what cannot work is removed before make looks at the stamps.
$(shell bash tools/environment.sh check)

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## */\1|/p' Makefile | while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: $(STAMPS)/standalone ## restore the sample through the whole stack, into demo-output/
	@$(PY) -m cli.demo

up: $(STAMPS)/standalone ## the one-machine stack on http://127.0.0.1:8000, until Ctrl-C (ARGS="--models baseline")
	@$(PY) -m cli.main up $(ARGS)

test: $(STAMPS)/reference $(STAMPS)/swift ## all tests (ARGS="tests/cli")
	@bash tools/tests.sh $(ARGS)

lint: $(STAMPS)/dev ## format, lint and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

parity: $(STAMPS)/reference ## our models against the voicefixer package
	@$(PY) -m bench.parity $(ARGS)

seams: $(STAMPS)/standalone ## chunked against whole-file, per seam
	@$(PY) -m bench.seams $(ARGS)

engine: $(STAMPS)/reference ## speed and memory of the engine against the voicefixer package
	@$(PY) -m bench.engine $(ARGS)

overhead: $(STAMPS)/standalone ## what the way through the queue costs (ARGS="--real": with the networks)
	@$(PY) -m bench.overhead $(ARGS)

scale: $(STAMPS)/standalone ## what more workers bring
	@$(PY) -m bench.scale $(ARGS)

memory: $(STAMPS)/standalone ## peak memory of every process for ten minutes and for ten hours
	@$(PY) -m bench.memory $(ARGS)

chaos: $(STAMPS)/swift ## does every job end, once and right, whatever dies? (ARGS="--jobs 300 --kills 150 --minutes 12")
	@$(PY) -m bench.chaos $(ARGS)

webhooks: $(STAMPS)/standalone ## does every receiver hear of every job's end, whatever dies and whatever it answers?
	@$(PY) -m bench.webhooks $(ARGS)

polls: $(STAMPS)/standalone ## how soon polls are answered while workers are saturated
	@$(PY) -m bench.polls $(ARGS)

rest: $(STAMPS)/standalone ## Redis memory of jobs that are over, and the time of a page of 100,000
	@$(PY) -m bench.rest $(ARGS)

fair: $(STAMPS)/standalone ## who waits how long: a ten-hour job, a thousand small ones, interactive ones
	@$(PY) -m bench.fair $(ARGS)

batch: $(STAMPS)/standalone ## what 50,000 waiting items cost Redis, and who waits while a batch is done
	@$(PY) -m bench.batch $(ARGS)

archive: $(STAMPS)/standalone ## an archive of a thousand files, with the command killed on the way
	@$(PY) -m bench.archive $(ARGS)

schema: $(STAMPS)/dev ## a client that knows the OpenAPI document alone, against a service with things in every state
	@$(PY) -m bench.schema $(ARGS)

clean: ## remove the environments and everything made
	@rm -rf .venv .venv-swift .venv-swift-data build demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis

# Every step of the set-up in one rule; tools/environment.sh does it and leaves the stamp.
$(STAMPS)/%:
	@bash tools/environment.sh $*

$(STAMPS)/torch: $(STAMPS)/python constraints.txt
$(STAMPS)/standalone $(STAMPS)/dev: $(STAMPS)/torch pyproject.toml constraints.txt
$(STAMPS)/reference: $(STAMPS)/dev
$(STAMPS)/swift: $(STAMPS)/dev tests/support/swift-requirements.txt
