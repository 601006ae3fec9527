#!/bin/sh
# Runs every fuzz target of the module for a while: scripts/fuzz.sh [TIME]
set -eu
cd "$(dirname "$0")/.."
time=${1:-20s}
go list ./... | while read -r package; do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "$package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
	done
done
