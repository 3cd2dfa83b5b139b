# Thin: each target is one script or one playbook. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-destroy check test test-app lint bench prove secrets lock adopt environment drain restart

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: ## prepare this machine: packages and .venv (every target calls it)
	@bin/setup

demo: setup ## boot a Debian server in a container, deploy site.yml to it, print how to reach it
	@bin/demo

demo-destroy: setup ## remove the demo and all it made
	@bin/demo destroy

check: setup ## the part of the tests that takes minutes: lint and unit tests
	@bin/test lint unit

test: setup ## lint, unit tests, the app's tests, the demo in a browser, several servers, each role; FULL=1 make test: all, on both Debians, as CI does
	@bin/test

test-app: setup ## the reference app's own tests
	@bin/test-app

lint: setup ## the linters alone
	@bin/lint

bench: setup ## measure a run that changes nothing, throughput and memory of the demo, how fast many messages are queued, how long deaf workers stay so, what ten servers cost
	@bench/no-change
	@bench/throughput
	@bench/memory
	@bench/enqueue
	@bench/deaf
	@bench/scale

prove: setup ## all of it and what needs hours: 2,000 orders, 10,000 mails and 40,000 tasks over restarts counted, workers busy for ten minutes, 30 primaries of Redis lost, servers that come and go, releases in parts, managed services, six foreign projects, virtual machines, costly tests on each Debian
	@bin/test --prove

secrets: setup ## write group_vars/ENV/vault.yml, encrypted, with strong random values: make secrets ENV=production
	@bin/secrets $(ENV)

adopt: setup ## write an environment for a project as it is: make adopt ENV=shop SOURCE=<git url or folder> [VERSION=...]
	@bin/adopt "$(ENV)" "$(SOURCE)" "$(VERSION)"

environment: setup ## write an environment for a project like app/: make environment ENV=shop
	@bin/environment "$(ENV)"

drain: setup ## take workers down without losing a task: make drain ENV=production [WORKERS=critical,images] [HOSTS=server-1]
	@bin/workers drain "$(ENV)" "$(WORKERS)" "$(HOSTS)"

restart: setup ## restart workers in the same way, and prove that they consume: make restart ENV=production [WORKERS=...] [HOSTS=...]
	@bin/workers restart "$(ENV)" "$(WORKERS)" "$(HOSTS)"

lock: setup ## renew all hash-locked requirements
	@bin/lock
