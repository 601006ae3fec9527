#!/bin/sh
# Installs what the tests need on Debian or Ubuntu, as root or through sudo:
#
#   packages       FUSE, rsync, curl, R and the like, by apt
#   .deps/ftpd     vsftpd, proftpd and pure-ftpd, unpacked side by side, since their
#                  packages exclude one another; only their libraries are installed
#   .deps/venv     a Python with pandas, pyarrow, duckdb, pyreaddbc and Jupyter's kernel
#
# It does nothing, quickly, where all is there. Details of a failure are in .deps/log.
set -eu

cd "$(dirname "$0")/.."
deps=$PWD/.deps
log=$deps/log

packages="fuse3 attr strace rsync curl plocate iproute2 tmux procps sudo ca-certificates systemd man-db mandoc
	microsocks tinyproxy-bin
	r-base-core r-cran-data.table r-cran-foreign"
servers="vsftpd proftpd-core proftpd-mod-crypto pure-ftpd"
binaries="vsftpd proftpd pure-ftpd"
modules="pandas pyarrow duckdb pyreaddbc nbclient ipykernel"

say() { echo "test-deps: $*" >&2; }

die() {
	say "$*"
	if [ -s "$log" ]; then
		tail -n 15 "$log" | sed 's/^/  /' >&2
		say "all of it is in $log"
	fi
	exit 1
}

# root CMD...: runs it as root, its output into the log.
root() {
	if [ "$(id -u)" = 0 ]; then
		"$@" >>"$log" 2>&1
	elif command -v sudo >/dev/null; then
		sudo "$@" >>"$log" 2>&1
	else
		die "'$*' needs root: run scripts/test-deps.sh as root, or install sudo"
	fi
}

# missing PACKAGE...: prints those that are not installed.
missing() {
	for p; do
		case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null) in
		*" installed") ;;
		*) echo "$p" ;;
		esac
	done
}

# fetch CMD...: runs an apt-get command, after an update if it fails without.
updated=
fetch() {
	"$@" && return
	[ -z "$updated" ] || return 1
	updated=yes
	say "updating the package lists"
	root apt-get -qq update || say "apt-get update failed in part; going on with what there is"
	"$@"
}

install() {
	[ $# -gt 0 ] || return 0
	say "installing $*"
	fetch root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
		-o DPkg::Lock::Timeout=300 --no-install-recommends install "$@" ||
		die "apt-get could not install: $*"
}

# works BINARY: tells whether a server is unpacked and finds all its libraries.
works() {
	[ -x "$deps/ftpd/usr/sbin/$1" ] &&
		! LD_LIBRARY_PATH=$(echo "$deps"/ftpd/usr/lib/*-linux-gnu*) ldd "$deps/ftpd/usr/sbin/$1" | grep -q 'not found'
}

download() {
	# shellcheck disable=SC2086 # a list
	(cd "$deps/debs" && apt-get -qq -o APT::Sandbox::User=root download $servers) >>"$log" 2>&1
}

ftp_servers() {
	for b in $binaries; do
		works "$b" || break
		b=
	done
	[ -n "$b" ] || [ ! -f "$deps/ftpd/usr/lib/proftpd/mod_tls.so" ] || return 0
	say "unpacking FTP servers into .deps/ftpd"
	rm -rf "$deps/debs" "$deps/ftpd"
	mkdir -p "$deps/debs" "$deps/ftpd"
	fetch download || die "apt-get could not download: $servers (Ubuntu has them in 'universe')"
	libraries=
	for deb in "$deps"/debs/*.deb; do
		dpkg-deb -x "$deb" "$deps/ftpd" || die "could not unpack $deb"
		# The first of alternatives, without versions; only libraries are taken.
		libraries="$libraries $(dpkg-deb -f "$deb" Depends | tr ',' '\n' |
			sed -n 's/^ *\(lib[^ |(]*\).*/\1/p' | grep -v '^libpam-')"
	done
	# shellcheck disable=SC2046,SC2086 # lists
	install $(missing $(printf '%s\n' $libraries | sort -u))
	for b in $binaries; do
		works "$b" || die "$b does not run: $(ldd "$deps/ftpd/usr/sbin/$b" 2>&1 | grep 'not found' | tr -s '\t\n' '  ')"
	done
	[ -f "$deps/ftpd/usr/lib/proftpd/mod_tls.so" ] || die "proftpd came without mod_tls"
	rm -rf "$deps/debs"
}

# python: prints an interpreter that can make an environment. pyreaddbc has
# wheels for 3.11, so that comes first.
python() {
	for py in python3.11 python3 /usr/bin/python3; do
		if "$py" -c 'import venv, ensurepip' 2>/dev/null; then
			echo "$py"
			return
		fi
	done
	return 1
}

importable() { "$deps/venv/bin/python" -c "import $1" >>"$log" 2>&1; }

# had MODULE: tells whether it was installed before; asking Python takes longer.
had() { [ -e "$deps/venv/with/$1" ] && "$deps/venv/bin/python" -c '' 2>/dev/null; }

python_modules() {
	wanted=
	for m in $modules; do
		had "$m" || wanted="$wanted $m"
	done
	[ -n "$wanted" ] || return 0
	if ! "$deps/venv/bin/python" -c '' 2>/dev/null; then
		py=$(python) || {
			# shellcheck disable=SC2046 # a list
			install $(missing python3 python3-venv)
			py=$(python) || die "no Python 3 with the module venv was found: install python3-venv"
		}
		rm -rf "$deps/venv"
		"$py" -m venv "$deps/venv" >>"$log" 2>&1 || die "$py could not make .deps/venv"
		wanted=$modules
	fi
	say "installing $wanted into .deps/venv"
	: >"$deps/venv/without"
	for m in $wanted; do
		if "$deps/venv/bin/pip" --disable-pip-version-check -q install "$m" >>"$log" 2>&1 && importable "$m"; then
			continue
		fi
		[ "$m" = pyreaddbc ] || die "pip could not install $m for $("$deps/venv/bin/python" -V)"
		echo "$m" >"$deps/venv/without"
	done
	mkdir -p "$deps/venv/with"
	for m in $modules; do # a later one may have changed an earlier one's parts
		[ "$m" = "$(cat "$deps/venv/without")" ] || importable "$m" || die ".deps/venv cannot import $m"
		: >"$deps/venv/with/$m"
	done
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
	die "this script knows Debian and Ubuntu only. Install by hand: fusermount3, getfattr, rsync, curl, ip, tmux," \
		"R with data.table and foreign; vsftpd, proftpd with mod_tls and pure-ftpd below .deps/ftpd/usr/sbin" \
		"or on PATH; and a Python with $modules in .deps/venv"
mkdir -p "$deps"
: >"$log"
# shellcheck disable=SC2046,SC2086 # lists
install $(missing $packages)
ftp_servers
python_modules
if [ -n "$(cat "$deps/venv/without")" ]; then
	say "$("$deps/venv/bin/python" -V) has no pyreaddbc (its wheels are for Python 3.11):" \
		"install python3.11 with venv, remove .deps/venv and run this again; only the recipes and tests with .dbc files at hand need it"
fi
