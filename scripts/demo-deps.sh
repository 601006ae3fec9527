#!/bin/sh
# Installs what a mount needs and is missing: FUSE's helper. Says what to do
# where it can't.
set -eu

if [ ! -e /dev/fuse ] && ! modprobe fuse 2>/dev/null; then
	echo "there is no /dev/fuse: load the kernel's fuse module; a container needs" >&2
	echo "  --device /dev/fuse --cap-add SYS_ADMIN" >&2
	exit 1
fi
command -v fusermount3 >/dev/null && exit 0

root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "FUSE is missing: run as root: $*" >&2
		exit 1
	fi
}

echo "installing fuse3" >&2
if command -v apt-get >/dev/null; then
	root apt-get install -y -qq fuse3 >/dev/null || {
		root apt-get update -qq
		root apt-get install -y -qq fuse3 >/dev/null
	}
elif command -v dnf >/dev/null; then
	root dnf install -y -q fuse3
elif command -v pacman >/dev/null; then
	root pacman -S --noconfirm --needed fuse3
elif command -v zypper >/dev/null; then
	root zypper --non-interactive install fuse3
elif command -v apk >/dev/null; then
	root apk add --quiet fuse3
else
	echo "install FUSE 3 (fusermount3) with your system's package manager" >&2
	exit 1
fi
