# Thin: each target calls one program or script. `make help` lists them.

N ?= 20
TARGET := $(or $(CARGO_TARGET_DIR),target)
BENCH := $(TARGET)/debug/kddm-bench

PREFIX ?= /usr/local

.PHONY: help setup build install-c demo test test-long bench soft-roce scale lint repeat model mutants sim fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

setup: ## install the Debian packages that demo and tests use (as root; else print them)
	@tests/setup packages

build: ## build everything
	cargo build --workspace --locked

install-c: ## the library for programs in C (docs/c.md) into PREFIX=/usr/local, below DESTDIR=; after make build
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" kdfs-client/c/install

demo: setup build ## two nodes on this host share one file system: shown and checked, about two minutes
	@tests/setup mount
	$(BENCH) demo

test: setup ## lint, all tests, a summary; installs what it needs
	@tests/run

bench: build ## latencies beside their floors: tables and target/report/*.json
	@tests/bench $(BENCH)

soft-roce: build ## latencies over real RDMA, in guests with soft-RoCE, beside bare verbs and perftest: target/report/latency.json
	@soft-roce/report

scale: build ## messages, hops and memory from 2 to 250 nodes, in virtual time: tables, target/report/scale*
	$(TARGET)/debug/kddm-scale

lint: ## format, clippy, documentation, dependencies
	@tests/lint

model: ## every schedule of small worlds, a line each: states, depth, time
	@tests/explore

sim: ## whole nodes in a simulated world: SEEDS=1000 of them, the first SEED=0; FILES=1: file systems
	@cargo run --locked --quiet -p kddm-sim -- $(if $(FILES),--files) $(if $(SEED),--seed $(SEED)) --seeds $(or $(SEEDS),$(if $(SEED),1,1000))

fuzz: ## decoders, guided by coverage: TARGET=wire (all) TIME=60 seconds each (docs/fuzzing.md)
	@tests/fuzz/guided $(or $(TARGET),all) $(or $(TIME),60)

mutants: ## mistakes planted in the core, each of which the checks must see
	@tests/mutants

test-long: ## what does not fit make test: larger worlds, many seeds, miri and ThreadSanitizer; hours
	@tests/long

repeat: setup build ## the cluster and alternation tests N=20 times, until one fails
	@tests/repeat $(N)
