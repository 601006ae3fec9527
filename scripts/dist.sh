#!/bin/sh
# Makes a .deb and a tarball for each architecture named, and SHA256SUMS, in
# the folder $DIST, which it empties first. What is made again from the same commit
# by the same Go is the same to the byte. "make dist" calls it after "make build",
# whose manual pages and completions, in $BUILD, are those of all architectures.
#
# usage: VERSION=... LDFLAGS=... SOURCE_DATE_EPOCH=... BUILD=... DIST=... scripts/dist.sh ARCH...
set -eu
cd "$(dirname "$0")/.."

NFPM=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
GO=${GO:-go}
export SOURCE_DATE_EPOCH
DEB_VERSION=$(scripts/deb-version.sh "$VERSION")
export DEB_VERSION

# The dates and modes of what is packed depend on neither clock nor umask.
umask 022
settle() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

rm -rf "$DIST"
mkdir -p "$DIST"
for ARCH; do
	name=mirrorfs-$VERSION-linux-$ARCH
	build=$DIST/work/$name/bin
	mkdir -p "$build"
	CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH "$GO" build -trimpath -ldflags "$LDFLAGS" -o "$build/mirrorfs" ./cmd/mirrorfs
	cp -r "$BUILD/man" "$BUILD/completion" "$build"
	GO=$GO "$GO" run ./packaging/copyright "$ARCH" >"$DIST/work/copyright" 2>"$DIST/work/said" ||
		{ cat "$DIST/work/said" >&2; exit 1; }

	# The tarball holds what "make install" and "make uninstall" need, and what to read.
	tree=$DIST/work/$name
	cp -r --parents Makefile README.md LICENSE docs/*.md examples packaging/systemd "$tree"
	cp "$DIST/work/copyright" "$tree/THIRD-PARTY"
	settle "$tree"
	tar -C "$DIST/work" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner -cf - "$name" |
		gzip -9n >"$DIST/$name.tar.gz"

	ARCH_STAGE=$DIST/work/$ARCH
	make --no-print-directory -s install BUILD="$build" DESTDIR="$ARCH_STAGE" PREFIX=/usr SBINDIR=/usr/sbin \
		ZSHDIR=/usr/share/zsh/vendor-completions
	doc=$ARCH_STAGE/usr/share/doc/mirrorfs
	cp "$DIST/work/copyright" "$doc/copyright"
	printf 'mirrorfs (%s) unstable; urgency=medium\n\n  * Built from %s.\n\n -- %s  %s\n' \
		"$DEB_VERSION" "$VERSION" "$(sed -n 's/^maintainer: //p' packaging/nfpm.yaml)" \
		"$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$doc/changelog"
	for page in "$ARCH_STAGE"/usr/share/man/man?/* "$doc/changelog"; do gzip -9n "$page"; done
	install -D -m 0644 packaging/deb/lintian-overrides "$ARCH_STAGE/usr/share/lintian/overrides/mirrorfs"
	# Links as Debian has them: relative.
	for link in "$ARCH_STAGE"/usr/sbin/*; do ln -sf ../bin/mirrorfs "$link"; done
	settle "$ARCH_STAGE"
	ARCH=$ARCH STAGE=$ARCH_STAGE "$GO" run "$NFPM" package -f packaging/nfpm.yaml -p deb \
		-t "$DIST/mirrorfs_${DEB_VERSION}_$ARCH.deb" >"$DIST/work/said" 2>&1 || { cat "$DIST/work/said" >&2; exit 1; }
done
rm -rf "$DIST/work"
cd "$DIST"
sha256sum -- * >SHA256SUMS
ls -l
