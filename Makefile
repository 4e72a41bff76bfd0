# What people do here. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help run quick test lint format unit build install deb archive check-package check-metrics check-stack check-peers check-page fuzz load bench bench-limiter bench-access-log bench-instructions bench-replay docker clean cmake redis

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: quick ## Build, start the mock backend and the gateway on config/gateway.toml, stop both on Ctrl-C
	@scripts/run

quick: cmake ## Build the gateway and the mock backend fast, for a first look
	cargo build --profile quick --locked --workspace

build: cmake ## Build the gateway and the mock backend, optimised
	cargo build --release --locked --workspace

install: build ## Install the gateway below PREFIX (/usr/local): program, man page, completions, systemd unit, first configuration
	scripts/package install

deb: build ## Make a Debian package of the same, in target/debian
	scripts/package deb

archive: build ## Make a .tar.gz of the same, in target
	scripts/package archive

test: lint unit ## Run every test there is, and check formatting and lints

lint: cmake ## Check formatting, clippy and the documentation of the code, with warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked

unit: cmake redis
	@scripts/install curl
	@scripts/install jq
	@scripts/install openssl
	@scripts/install script bsdutils
	cargo test --workspace --locked

format: ## Format the code
	cargo fmt --all

check-metrics: cmake ## Have Prometheus' promtool check what the side port exposes
	@scripts/install curl
	@scripts/install promtool prometheus
	cargo build --locked
	scripts/check-metrics

check-stack: cmake ## Have Prometheus and systemd check the files for them under config/, on a gateway that runs
	@scripts/install curl
	@scripts/install promtool prometheus
	cargo build --locked --workspace
	scripts/check-stack

check-package: cmake ## Install the gateway into a folder, and its Debian package on this machine where that is Debian, and use both
	@scripts/install strip binutils
	cargo build --locked
	scripts/check-package

check-peers: cmake ## Put the gateway between curl, h2load, nginx, and Python's grpcio and websockets
	@scripts/install curl
	@scripts/install h2load nghttp2-client
	@PATH=$$PATH:/usr/sbin scripts/install nginx nginx-light
	@scripts/install pip3 python3-pip
	cargo build --locked --workspace
	scripts/check-peers

check-page: cmake ## Look at the pages of the side port in headless Chromium: screenshots are left in target/check-page
	@scripts/install node nodejs
	@scripts/install npm
	@scripts/install chromium
	cargo build --locked --workspace
	scripts/check-page

fuzz: cmake ## Give the parsers that strangers reach whatever bytes there are, for FUZZ_SECONDS each (60)
	scripts/fuzz

load: build ## Load the gateway with wrk for 30 seconds, and check what it counted
	@scripts/install curl
	@scripts/install wrk
	scripts/load

bench: build ## Measure the gateway beside nginx and HAProxy, 20 minutes: CPU time, requests a second, latency, memory
	@scripts/install curl
	@scripts/install h2load nghttp2-client
	@scripts/install strace
	@scripts/install wrk
	@PATH=$$PATH:/usr/sbin scripts/install haproxy
	@PATH=$$PATH:/usr/sbin scripts/install nginx nginx-light
	cargo install --quiet --locked --root $${CARGO_TARGET_DIR:-target}/bench-tools oha@1.16.0
	scripts/bench $(BENCH)

bench-limiter: cmake ## Measure the limiter beside governor and pingora-limits: time, memory, accuracy
	cargo bench --locked --bench limiter

bench-access-log: cmake ## Measure what logging a request costs the worker
	cargo bench --locked --bench access_log

bench-instructions: build ## Count the instructions of a request, and compare them with those of the last time
	@scripts/install h2load nghttp2-client
	@scripts/install valgrind
	scripts/bench-instructions

bench-replay: build ## Time `gateway replay`, and measure its memory
	@scripts/install taskset util-linux
	scripts/bench-replay

docker: ## Build the container images that docker compose runs
	docker compose build

clean: ## Remove what was built
	cargo clean

cmake:
	@scripts/install cmake

redis:
	@scripts/install redis-server
