# Tasks of a developer's day. The work is done by the scripts in dev/; `make` alone lists the tasks.
.DEFAULT_GOAL := help
.PHONY: help demo down logs clean test lint fmt load bench bench-short bench-build scenarios proto-lint proto-baseline compose-check \
	collector-check compose-test kafka-tls-test clients clients-test
ROLE ?= order
PROFILE ?= demo
ARGS ?=

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

demo: ## Start everything, place orders, print what to try next (again: seconds)
	@OPENORDER_DEV_PROFILE=$(PROFILE) dev/demo

down: ## Stop what `make demo` started; the data stays
	@dev/demo down

logs: ## Follow the log of a role: make logs ROLE=order
	@dev/demo logs $(ROLE)

clean: ## Stop, and forget the data of the local stack
	@dev/demo clean

test: ## All tests, over real Kafka, PostgreSQL, Redis and Jaeger; the clients; JSON; the protobuf and deployment files
	@dev/check tests clients json proto compose context collector alerts

lint: ## Formatting, clippy, dependencies, shell scripts, stubs in other languages, what the local stack leaves to other users
	@dev/check format clippy example deny features scripts stubs stack

fmt: ## Format Rust and protobuf files
	@cargo fmt --all
	@dev/tool buf format --write --exclude-path proto/google

load: ## Put load on the running server: make load ARGS="--help"
	@bin/openorder load $(ARGS)

# Two programs compared are no record: docs/BENCHMARKS.md stays as it is.
bench: ## Measure against references of this machine; writes docs/BENCHMARKS.md (over an hour): make bench ARGS="--help"
	@$(MAKE) --no-print-directory bench-build
	@cargo run --release --locked --quiet --package openorder-bench -- $(if $(findstring --pair,$(ARGS)),,--markdown docs/BENCHMARKS.md) $(ARGS)

bench-short: ## Some of it, two minutes after a warm-up; fails when a ratio is much worse than docs/BENCHMARKS.md has it
	@$(MAKE) --no-print-directory bench-build
	@cargo run --release --locked --quiet --package openorder-bench -- --short --check docs/BENCHMARKS.md $(ARGS)

bench-build: ## Only build what bench and bench-short run
	@cargo build --release --locked --package openorder --package openorder-bench

scenarios: ## Break a system of its own in every way while orders flow: make scenarios ARGS="--short kill"
	@cargo build --locked -p openorder -p openorder-scenarios
	@target/debug/scenarios $(ARGS)

clients: ## Write the generated code of the clients anew, from proto/
	@bash -c 'source dev/lib/common.sh && source dev/lib/clients.sh && clients_generate'

clients-test: ## Only the clients: each by itself, and its story told to a running system (clients/STORY.md)
	@dev/check clients

proto-lint: ## Only the protobuf files
	@dev/check proto

proto-baseline: ## Write proto/baseline.binpb: what clients may rely on from now on (with a release; see CONTRIBUTING.md)
	@dev/tool buf build --exclude-source-info -o proto/baseline.binpb

compose-check: ## Only docker-compose.yml and what the image is built from; no engine is needed
	@dev/check compose context

compose-test: ## Run docker-compose.yml on a container engine, or on one made for it (root, Debian), and look at it
	@dev/compose-test $(ARGS)

kafka-tls-test: ## Kafka with an account and TLS, against a broker of its own (builds librdkafka once more)
	@dev/check kafka-tls

collector-check: ## Only otel-collector.yaml
	@dev/check collector
