# What a developer runs. Everything made lands in .venv, target and .cache, all three of which `clean` removes.
#
#   make demo        a namespace guest and a QEMU guest get their network, check by check
#   make test        everything a change must pass; what .ci/run calls
#   make test-unit   the fast tests only: under a minute, no guests
#   make lint        formats, types and rules
#   make fmt         put the sources into their format
#   make bench       side by side with slirp4netns, pasta and gvproxy: make bench ARGS='--json out.json'
#   make docs        check the documentation: links, options, examples

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
CACHE := .cache
# rustup puts cargo here without telling shells that are already open.
export PATH := $(PATH):$(HOME)/.cargo/bin
export PIP_QUIET := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
TOOLS := $(VENV)/tools.stamp
CORE := $(VENV)/core.stamp
NETTOOL := $(CACHE)/nettool
QEMU_PACKAGES := qemu-system-x86,seabios,ipxe-qemu
# Programs that guests are tried with.
CLIENTS := curl=curl dhclient=isc-dhcp-client dig=bind9-dnsutils iperf3=iperf3 rdisc6=ndisc6 smbclient=smbclient \
    smbd=samba tftp=tftp-hpa tracepath=iputils-tracepath traceroute=traceroute tshark=tshark \
    /lib/systemd/systemd-networkd=systemd

.PHONY: demo test test-unit test-rust test-slow lint lint-python lint-rust fmt bench docs clean cargo guests

demo: $(CORE)
	@$(MAKE) --no-print-directory guests || echo "No QEMU guest: the namespace guests only."
	@$(BIN)/python -m tests.examples.demo $(ARGS)

# The order is that of the cost of a fault: what is found fast is looked for first.
test: lint
	$(MAKE) test-unit
	$(MAKE) test-rust
	$(MAKE) test-slow

test-unit: $(CORE)
	$(BIN)/pytest -q -n auto tests/unit

test-rust: cargo Cargo.lock
	cargo test --quiet --workspace --locked

test-slow: $(CORE) guests
	@tools/need.sh vde_switch=vde2 /usr/lib/qemu/qemu-bridge-helper=qemu-system-common
	@tools/need.sh ip=iproute2 ping=iputils-ping unshare=util-linux nsenter=util-linux $(CLIENTS)
	$(BIN)/pytest tests/wire tests/oracles tests/docs tests/guests

docs: $(CORE)
	$(BIN)/pytest tests/docs

lint: lint-python lint-rust

lint-python: $(CORE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/stubtest wirebay._core

lint-rust: cargo $(TOOLS)
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	$(BIN)/python tools/deny.py

fmt: cargo $(TOOLS)
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .
	cargo fmt --all

bench: $(CORE) $(NETTOOL)
	@tools/need.sh iperf3=iperf3 ip=iproute2 nsenter=util-linux
	$(BIN)/python -m tests.bench.compare --nettool $(NETTOOL) $(ARGS)

clean:
	rm -rf target $(VENV) $(CACHE) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find python tests tools -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/wirebay/_core*.so

cargo:
	@command -v cargo > /dev/null || { echo "Rust is missing: install it from https://rustup.rs and try again." >&2; exit 1; }
	@tools/need.sh cc=gcc

# QEMU, and the kernel it boots, made here so that no test's time is spent on it.
guests: $(CORE)
	@tools/need.sh qemu-system-x86_64=$(QEMU_PACKAGES)
	@$(BIN)/python -m tests.guests.image

# `python3 -m venv` needs ensurepip, which Debian keeps in a package of its own.
$(BIN)/python:
	@tools/need.sh $(PYTHON)=python3
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || tools/need.sh ensurepip=python3-venv
	$(PYTHON) -m venv $(VENV)

$(TOOLS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --group dev
	touch $@

$(CORE): $(TOOLS) $(RUST) | cargo
	$(BIN)/maturin develop --release --locked --quiet
	touch $@

$(NETTOOL): tests/bench/nettool.c
	@tools/need.sh cc=gcc
	mkdir -p $(CACHE)
	$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -static -o $@ $<
