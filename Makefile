# `make help` tells what there is. Every target that proves something prints one JSON object with
# `ok` and its figures as its last line, and exits non-zero where it falls short.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# s3s 0.17 declares rustc 1.96; it builds and passes its tests on the pinned 1.95.
CARGO_FLAGS := --ignore-rust-version
STAGES := python3 conformance/harness/stages.py
LISTEN ?= 127.0.0.1:9000
ADMIN ?= 127.0.0.1:9001
ONLY ?=
N ?= 1000
SECONDS_OF_LOAD ?= 180
SEED ?=
# Where cuts are rebuilt: in memory where there is such a place.
REBUILT := $(if $(wildcard /dev/shm),/dev/shm,$(CURDIR)/.cache)/datamesh-powercut
SMOKE := aws-cli-v1,s5cmd

# $(call built,TARGET,CARGO WORDS): builds, and says so in the last line where that fails.
built = cargo build $(2) $(CARGO_FLAGS) || { echo '{"target":"$(1)","ok":false,"why":"the build failed"}'; exit 1; }

.PHONY: help run test verify fix tidy arrows docs licences s3tests s3tests-keep clients clients-nginx clients-docker behaviour smoke \
  fixture crash powercut drills sabotage fuzz bench bench-peers docker

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

run: .run/datamesh.toml ## serve S3 on LISTEN over six drives below .run/; prints keys and aws cli lines
	cargo build --release -p gateway-server $(CARGO_FLAGS)
	exec target/release/datamesh serve --config .run/datamesh.toml --listen $(LISTEN)

# Key file and credentials lie beside the drives, never on them. An existing file is yours to edit, but for `listen`: set LISTEN.
.run/datamesh.toml:
	@mkdir -p .run/d{1..6}
	@printf '%s\n' 'listen = "$(LISTEN)"' 'admin_listen = "$(ADMIN)"' \
	  'drives = [".run/d1", ".run/d2", ".run/d3", ".run/d4", ".run/d5", ".run/d6"]' \
	  'credentials_file = ".run/credentials.json"' 'key_file = ".run/keyring.key"' > $@

test: ## build, all tests, our S3 behaviour suite, two real clients, and the public suite where S3TESTS=DIR names it
	@$(STAGES) test \
	  'build=cargo build --workspace $(CARGO_FLAGS)' \
	  'unit=cargo test --workspace --no-fail-fast $(CARGO_FLAGS)' \
	  'behaviour=python3 conformance/behaviour/run.py' \
	  'smoke=python3 conformance/clients/run.py --target smoke --only $(SMOKE)' \
	  'fixture=python3 conformance/fixture/run.py' \
	  's3tests=python3 conformance/s3tests/drive.py --optional'

verify: ## format, clippy, tidy, arrows, docs, licences; changes nothing
	@$(STAGES) verify \
	  '?fmt=cargo fmt --all -- --check' \
	  '?clippy=cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings' \
	  '?tidy=$(MAKE) tidy' '?arrows=$(MAKE) arrows' '?docs=$(MAKE) docs' '?licences=$(MAKE) licences'

fix: ## format, and what clippy can mend by itself
	cargo fmt --all
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) --fix --allow-dirty --allow-staged

tidy:
	@cargo test -q -p conformance $(CARGO_FLAGS) --lib --test tidy

arrows:
	@cargo test -q -p conformance $(CARGO_FLAGS) --test deps

# Links to private items are meant: these documents are for those who change the code.
docs:
	@cargo test -q -p conformance $(CARGO_FLAGS) --test s3_doc --test limits_doc
	@RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --workspace --no-deps --document-private-items --quiet $(CARGO_FLAGS)

licences:
	@python3 conformance/harness/licences.py

s3tests: ## the public suite, http and https, against the kept lists; S3TESTS=DIR names its checkout
	@$(call built,s3tests,-p gateway-server)
	@python3 conformance/s3tests/drive.py $(ARGS)

s3tests-keep: ## the same, and new passes are added to the kept lists
	@$(MAKE) s3tests ARGS=--keep

clients: ## fourteen real clients over http and https; ONLY=rclone,restic some of them
	@$(call built,clients,-p gateway-server)
	@python3 conformance/clients/run.py --only '$(ONLY)' $(ARGS)

behaviour: ## our own tests of what the public suite does not cover
	@$(call built,behaviour,-p gateway-server)
	@python3 conformance/behaviour/run.py $(ARGS)

clients-nginx: ## the clients behind nginx with TLS on another port, as docs/OPERATIONS.md sets it up; ONLY
	@$(call built,clients-nginx,-p gateway-server)
	@python3 conformance/clients/run.py --behind nginx --target clients-nginx --only '$(ONLY)' $(ARGS)

clients-docker: ## the clients against the image of `make docker` as a container; ONLY
	@python3 conformance/clients/run.py --behind docker --target clients-docker --only '$(ONLY)' $(ARGS)

smoke: ## two real clients: what `make test` runs
	@$(MAKE) clients ONLY=$(SMOKE) ARGS='--target smoke'

fixture: ## stores kept from earlier builds open byte-exact; ARGS='--write N' keeps a new one
	@$(call built,fixture,-p gateway-server)
	@python3 conformance/fixture/run.py $(ARGS)

crash: ## kill -9 under load from real clients; ROUNDS=200
	@$(call built,crash,-p gateway-server)
	@python3 conformance/crash/run.py $(ARGS)

powercut: ## N=1000 power cuts of a recorded server; SEED
	@$(call built,powercut,--release -p gateway-server -p recorder -p powercut)
	@rm -rf .cache/powercut '$(REBUILT)' && mkdir -p .cache/powercut '$(REBUILT)'
	@target/release/powercut --server target/release/datamesh --recorder "$$PWD/target/release/librecorder.so" \
	  --work "$$PWD/.cache/powercut" --rebuilt '$(REBUILT)' --cuts $(N) --seconds $(SECONDS_OF_LOAD) $(if $(SEED),--seed $(SEED)) $(ARGS)

drills: ## races, secrets, strace, bit flips, memory, lost drives, large transfers …; ONLY=races,trace some, ARGS=--small a quick look, SEED
	@$(call built,drills,--release -p gateway-server -p bench)
	@python3 conformance/drills/run.py --server target/release/datamesh --only '$(ONLY)' $(if $(SEED),--seed $(SEED)) $(ARGS)

sabotage: ## each named break of a promise is caught by a named test
	@python3 conformance/sabotage/run.py $(ARGS)

fuzz: ## every parser of foreign bytes, a minute each
	@python3 conformance/fuzz/run.py $(ARGS)

bench: ## our own generator, the machine's roofline, the computed limits
	@$(call built,bench,--release -p gateway-server -p bench)
	@python3 bench/run.py $(ARGS)

bench-peers: ## ours and the peers named in PEERS=FILE, in turns on the same disks; WARP=PATH
	@$(call built,bench-peers,--release -p gateway-server -p bench)
	@python3 bench/peers.py $(ARGS)

docker: ## the image; ARGS for docker build
	@if docker build -t datamesh $(ARGS) . ; then echo '{"target":"docker","ok":true,"image":"datamesh"}'; \
	  else echo '{"target":"docker","ok":false,"why":"docker build failed"}'; exit 1; fi
