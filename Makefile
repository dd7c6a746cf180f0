# What one does with this repository. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help bench bench-depth bench-micro demo stop node-kill node-start build test test-long sim model-runs chaos \
	chaos-profiles chaos-selftest plants lint fmt docs check-deps \
	check-deploy rocksdb deps clean-data

ENV := source deploy/env.sh
DATA := ./data
DEMO = "$$CARGO_TARGET_DIR/debug/demo"
DEMO_FLAGS = --yin "$$CARGO_TARGET_DIR/debug/yin" --data $(DATA)
JEPSEN = "$$CARGO_TARGET_DIR/debug/jepsen"
# A package outside the workspace, so that what it depends on stays out of Cargo.lock.
HIQLITE_PEER := tests/bench/peers/hiqlite
HIQLITE_TARGET = "$$YIN_CACHE/peers/hiqlite"
CLIP := tests/fixtures/clip1.mp4
# Bash has a SECONDS of its own, so that only one that was given to make counts.
CHAOS_SECONDS = $(if $(HOURS),$$(( $(HOURS) * 3600 )),$(if $(filter command line,$(origin SECONDS)),$(SECONDS),600))
CHAOS_FLAGS = --yin "$$CARGO_TARGET_DIR/debug/yin" --clip $(CLIP) --out $(DATA)/jepsen \
	$(if $(SEED),--seed $(SEED)) $(if $(NODES),--nodes $(NODES)) $(if $(RATE),--rate $(RATE))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo "First time: make demo. It installs what is missing, builds, and starts three nodes."

demo: build ## S3 and three nodes on loopback with sample data, until Ctrl-C (DETACH=1: in the background)
	@$(ENV); exec $(DEMO) up $(DEMO_FLAGS) --clips tests/fixtures $(if $(filter 1,$(DETACH)),--detach)

stop: ## ends what `make demo` started, and nothing else
	@$(ENV); if [ -x $(DEMO) ]; then exec $(DEMO) stop --data $(DATA); else echo "nothing was built, so nothing runs"; fi

node-kill: ## kill -9 of one node of the demo: make node-kill N=1
	@$(ENV); exec $(DEMO) kill --data $(DATA) $(N)

node-start: ## starts a killed node again: make node-start N=1
	@$(ENV); exec $(DEMO) start $(DEMO_FLAGS) $(N)

# Measured is what people run: the release build. The one over TCP is made first and moved away; only
# the node itself is built twice. Cargo links what it built, so the one of last time may be the same file.
BENCH_PARTS = -p node -p bench -p micro --bin yin --bin bench --bin fill
WITH_TCP = $(if $(ONLY),$(findstring tcp,$(ONLY)),tcp)
YIN_TCP = "$$CARGO_TARGET_DIR/release/yin-tcp"
bench: deps rocksdb ## what it does on this machine beside what the machine allows (ROUNDS=, SECONDS=, SCALE=, ONLY=, NODES=, CONNECTIONS=, DEPTH=, LASTING=; HIQLITE=1: beside hiqlite too)
	@$(if $(WITH_TCP),$(ENV); cargo build --release --locked $(BENCH_PARTS) --features node/tcp; \
		rm -f $(YIN_TCP); mv "$$CARGO_TARGET_DIR/release/yin" $(YIN_TCP))
	@$(ENV); cargo build --release --locked $(BENCH_PARTS)
	@$(if $(filter 1,$(HIQLITE)),$(ENV); cargo build --release --locked --manifest-path $(HIQLITE_PEER)/Cargo.toml \
		--target-dir $(HIQLITE_TARGET))
	@$(ENV); exec "$$CARGO_TARGET_DIR/release/bench" run --yin "$$CARGO_TARGET_DIR/release/yin" \
		$(if $(WITH_TCP),--tcp $(YIN_TCP)) --dir $(DATA)/bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SCALE),--scale $(SCALE)) \
		$(if $(filter command line,$(origin SECONDS)),--seconds $(SECONDS)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(NODES),--nodes $(NODES)) $(if $(CONNECTIONS),--connections $(CONNECTIONS)) \
		$(if $(DEPTH),--depth $(DEPTH)) $(if $(LASTING),--lasting $(LASTING)) \
		$(if $(filter 1,$(HIQLITE)),--hiqlite $(HIQLITE_TARGET)/release/hiqlite-peer)

bench-micro: deps rocksdb ## what single steps cost: apply, keys, feed, log, QUIC (ONLY=like: by name)
	@$(ENV); exec cargo bench --locked -p micro --bench micro -- $(ONLY)

bench-depth: deps rocksdb ## processor time per request when much is stored (OBJECTS=10000,10000000, BIG=1000000, ROUNDS=, KEEP=1)
	@$(ENV); cargo build --release --locked -p micro --bin depth
	@$(ENV); exec "$$CARGO_TARGET_DIR/release/depth" --dir $(DATA)/depth $(if $(OBJECTS),--objects $(OBJECTS)) \
		$(if $(BIG),--big $(BIG)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(filter 1,$(KEEP)),--keep)

# A test beside the binaries, so that libraries get the features that the tests need: with others
# cargo would compile all that hangs on tokio a second time.
build: deps rocksdb ## yin and demo, in the one profile that tests use too
	@$(ENV); cargo build --workspace --locked --bins --test house

test: deps rocksdb ## every test; closes with "N passed, N failed"
	@deploy/test.sh

test-long: deps rocksdb ## the long ones as well (more rounds of the same, an hour and more)
	@YIN_LONG=1 TEST_TIMEOUT=$${TEST_TIMEOUT:-14400} deploy/test.sh

sim: build ## whole clusters in one thread, by seed: make sim SEEDS=300 (FROM=, PROFILE=, SECS=)
	@$(ENV); exec "$$CARGO_TARGET_DIR/debug/sim" --seed $(or $(FROM),$$(date +%s)000) --count $(or $(SEEDS),300) \
		--profile $(or $(PROFILE),mixed) $(if $(SECS),--seconds $(SECS))

model-runs: build ## the state machine alone in random histories: make model-runs SEEDS=10000
	@$(ENV); exec "$$CARGO_TARGET_DIR/debug/model" --seeds $(or $(SEEDS),10000) --from $(or $(FROM),1)

chaos: build ## ten minutes of all faults on a cluster of its own; as root (SECONDS=, HOURS=, SEED=, PROFILE=, NODES=, RATE=)
	@$(ENV); exec $(JEPSEN) chaos $(CHAOS_FLAGS) --profile $(or $(PROFILE),all) --seconds $(CHAOS_SECONDS)

chaos-profiles: build ## six profiles of a minute each, an unknown one twice
	@$(ENV); exec deploy/chaos-profiles.sh $(JEPSEN) $(CHAOS_FLAGS)

chaos-selftest: build ## each fault alone: it bites, and healing heals
	@$(ENV); exec $(JEPSEN) self-test --yin "$$CARGO_TARGET_DIR/debug/yin" --clip $(CLIP)

# Built among the others, since the libraries are the same, and then moved away: nobody else shall
# meet a planted `yin`.
PLANTED = "$$CARGO_TARGET_DIR/planted"
plants: deps rocksdb ## proves that planted bugs are found: make plants PLANT=canary (TRIES=, ROTATE=)
	@$(ENV); cargo build --workspace --locked --bins --test house --features plants/planted
	@$(ENV); mkdir -p $(PLANTED); cd "$$CARGO_TARGET_DIR/debug"; for it in yin jepsen sim model disk plants; do \
		rm -f $(PLANTED)/$$it; mv $$it $(PLANTED); done
	@$(ENV); exec $(PLANTED)/plants --tries $(or $(TRIES),10) $(if $(PLANT),--only $(PLANT)) $(if $(ROTATE),--rotate $(ROTATE))

lint: deps ## formatting, clippy with warnings as errors
	@$(ENV); cargo fmt --all --check
	@$(ENV); cargo clippy --workspace --features node/tcp --all-targets --locked -- -D warnings

fmt: ## formats the Rust code
	@cargo fmt --all

# Links to private items stay readable text: nobody but us reads these pages.
docs: deps ## the crates' documentation, warnings as errors
	@$(ENV); RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --locked

check-deps: ## licences, banned crates, sources, unused dependencies
	@deploy/check-deps.sh

check-deploy: ## lints scripts, Dockerfile, compose file, systemd unit, workflows
	@deploy/check.sh

rocksdb: deps ## RocksDB's C++, once into ~/.cache/yin (10.5 minutes on two cores)
	@deploy/rocksdb.sh

deps: ## installs missing system packages with apt-get
	@deploy/install-deps.sh

clean-data: stop ## stops the demo and deletes ./data
	rm -rf $(DATA)
