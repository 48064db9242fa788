#!/bin/sh
# rustc for the workspace's own crates, with coverage counters as libFuzzer reads them. Stable options
# only; foreign crates are built, and shared, as always.
exec "$@" -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  -Ccodegen-units=1
