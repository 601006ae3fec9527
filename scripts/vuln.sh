#!/bin/sh
# Looks for known vulnerabilities in what mirrorfs calls, and fails when there is
# one. Go itself is looked at too: the version at hand, or the one that go.mod names
# (toolchain) where that is newer and can be had, which is told. The database comes
# from vuln.go.dev, or where only a module proxy can be reached, as the module
# golang.org/x/vulndb, which is as old as its version says. On a machine that reaches
# neither nothing is found out, which is said but is no failure.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
tool=golang.org/x/vuln/cmd/govulncheck@v1.9.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

not_run() {
	echo "vuln: NOT CHECKED for known vulnerabilities: $*" >&2
	exit 0
}

GOBIN=$work "$go" install "$tool" 2>"$work/log" || {
	cat "$work/log" >&2
	not_run "govulncheck can't be fetched; is this machine offline?"
}

wanted=$(sed -n 's/^toolchain \(go[0-9.]*\)$/\1/p' go.mod)
here=$("$go" env GOVERSION)
if [ -n "$wanted" ] && [ "$(printf '%s\n' "$here" "$wanted" | sort -V | head -n 1)" != "$wanted" ]; then
	echo "vuln: this machine builds with $here; $wanted mends known vulnerabilities of it" >&2
	if GOTOOLCHAIN=$wanted "$go" version >/dev/null 2>&1; then
		export GOTOOLCHAIN="$wanted"
	fi
fi

db=
if ! curl -fsS -m 20 -o "$work/db" https://vuln.go.dev/index/db.json 2>"$work/log"; then
	# The folder of the module's newest version, which go mod download prints as JSON.
	dir=$(cd "$work" && "$go" mod download -json golang.org/x/vulndb@latest 2>/dev/null | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') || dir=
	if [ -z "$dir" ] || [ ! -d "$dir/data/osv" ]; then
		cat "$work/log" >&2
		not_run "neither vuln.go.dev nor golang.org/x/vulndb can be reached"
	fi
	echo "vuln: vuln.go.dev is out of reach; the database is ${dir##*/}" >&2
	db="-db=file://$dir/data/osv"
fi
echo "vuln: looking with $("$go" env GOVERSION)" >&2
# It fails when something is found (3), and when it can't look, for which it has
# three tries.
for try in 1 2 3; do
	status=0
	"$work/govulncheck" $db ./... || status=$?
	if [ $status -eq 0 ] || [ $status -eq 3 ]; then
		break
	fi
done
exit $status
