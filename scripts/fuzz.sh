#!/bin/sh
# Runs every fuzz target of the module for a while, one for each processor at
# once: scripts/fuzz.sh [TIME]
set -eu
cd "$(dirname "$0")/.."
export FUZZTIME="${1:-20s}"

# $0 is a test file, $1 a target in it. Where the engine itself gives up when its
# time is over ("context deadline exceeded", golang.org/issue/75804), without an
# input to blame, it is tried again.
fuzz='
package=./$(dirname "$0") target=$1
for try in 1 2 3; do
	if said=$(go test -run "^\$" -fuzz "^$target\$" -fuzztime "$FUZZTIME" -parallel 1 "$package" 2>&1); then
		echo "$package $target: $(echo "$said" | grep "^fuzz: elapsed" | tail -n 1)"
		exit
	fi
	case $said in
	*"Failing input"*) break ;;
	*"context deadline exceeded"*) ;;
	*) break ;;
	esac
done
echo "$package $target: $said"
exit 1'
find . -name '*_test.go' -not -path './.*' -exec grep -Ho '^func Fuzz[A-Za-z0-9_]*' {} + |
	sed 's|^\./||; s|:func | |' | sort |
	xargs -P "$(nproc)" -n 2 sh -c "$fuzz"
