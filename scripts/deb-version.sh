#!/bin/sh
# Turns what "git describe --tags --always --dirty" says into a Debian version that
# sorts as the history does:
#
#   v1.2.3                     1.2.3
#   v1.2.3-rc1                 1.2.3~rc1           before 1.2.3
#   v1.2.3-14-gabc1234         1.2.3+14.gabc1234   after it
#   v1.2.3-dirty               1.2.3+dirty
#   abc1234 (no tag)           0~git20260102030405.abc1234, by SOURCE_DATE_EPOCH
#
# usage: scripts/deb-version.sh DESCRIPTION
set -eu

described=$1
dirty=
case $described in
*-dirty) dirty=+dirty described=${described%-dirty} ;;
esac
after=
if expr "$described" : '.*-[0-9][0-9]*-g[0-9a-f][0-9a-f]*$' >/dev/null; then
	commit=${described##*-}
	described=${described%-*}
	after=+${described##*-}.$commit
	described=${described%-*}
fi
case $described in
v[0-9]* | [0-9]*.[0-9]*)
	version=$(echo "${described#v}" | tr '-' '~')$after
	;;
*)
	version=0~git$(date -u -d "@${SOURCE_DATE_EPOCH:?}" +%Y%m%d%H%M%S).$described$after
	;;
esac
version=$(echo "$version$dirty" | tr -c 'A-Za-z0-9.+~\n' .)
echo "$version"
