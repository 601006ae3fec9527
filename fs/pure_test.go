package fs

import (
	"path"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"pgregory.net/rapid"
)

func TestShownTarget(t *testing.T) {
	for _, c := range []struct{ root, dir, target, want string }{
		{"/", "", "a/b", "a/b"},
		{"/", "x/y", "../../a", "../../a"},
		{"/", "x", "./a//b/", "./a//b/"},
		{"/", "x", "../../etc/passwd", "../etc/passwd"}, // the server's root has no parent
		{"/pub", "x", "../../etc/passwd", "../.not-in-this-mirror/etc/passwd"},
		{"/pub", "x", "../../pub/a", "../a"},
		{"/pub", "", "/pub/a/b", "a/b"},
		{"/pub/", "x/y", "/pub/a", "../../a"},
		{"/pub", "x", "/pub", ".."},
		{"/pub", "", "/pub", "."},
		{"/pub", "x", "/public/a", "../.not-in-this-mirror/public/a"},
		{"/", "x", "/etc/passwd", "../etc/passwd"},
		{"", "x", "/etc/passwd", "../etc/passwd"},
		{"/pub", "", "/etc/passwd", ".not-in-this-mirror/etc/passwd"},
		{"/", "x", "d/../../y", "../y"},
		{"/", "x", "..", ".."},
		{"/", "", ".", "."},
	} {
		if got := shownTarget(c.root, c.dir, c.target); got != c.want {
			t.Errorf("%q in %q of %q: %q, want %q", c.target, c.dir, c.root, got, c.want)
		}
	}
}

// Whatever a server sends as a target, what is shown climbs only at its
// beginning and never above the mount.
func TestShownTargetStaysInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"..", ".", "", "a", "b", "...", "pub"})
		dir := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "pub"}), 0, 4).Draw(t, "dir"), "/")
		target := strings.Join(rapid.SliceOfN(part, 1, 9).Draw(t, "target"), "/")
		root := rapid.SampledFrom([]string{"", "/", "/pub", "/pub/a/b"}).Draw(t, "root")
		got := shownTarget(root, dir, target)
		if target != "" && (got == "" || path.IsAbs(got)) {
			t.Fatalf("%q is shown as %q", target, got)
		}
		if ups, plain := climbs(got); got != "" && (!plain || ups > depth(dir)) {
			t.Fatalf("%q in %q is shown as %q", target, dir, got)
		}
	})
}

func TestShownMTime(t *testing.T) {
	const minute, day = 1_699_999_980, 1_699_920_000
	any := listing.Anytime()
	for _, c := range []struct {
		i    listing.Interval
		want int64
	}{
		{any, 0},
		{exactly(someTime), someTime},
		{listing.Interval{Min: minute, Max: minute + 59}, minute},
		{listing.Interval{Min: minute + 7, Max: minute + 66}, minute + 7}, // never before it
		{listing.Interval{Min: minute + 10, Max: minute + 20}, minute + 15},
		{listing.Interval{Min: day, Max: day + 86399}, day + 43140},
		{listing.Interval{Min: -119, Max: -60}, -119},
		{listing.Interval{Min: any.Min, Max: 5}, 5},
		{listing.Interval{Min: 5, Max: any.Max}, 5},
	} {
		if got := shownMTime(c.i); got != c.want {
			t.Errorf("%v is shown as %d, want %d", c.i, got, c.want)
		}
	}
}

func TestInodeNumbersAreUsable(t *testing.T) {
	if ino("") != rootIno {
		t.Error("the root has another number")
	}
	seen := map[uint64]string{}
	for _, a := range []string{"a", "b", "dissemin/publicos", "SIHSUS"} {
		for b := range 5000 {
			p := listing.Join(a, strings.Repeat("x", b%7)+string(rune('a'+b%26))+strings.Repeat("0", b/26))
			n := ino(p)
			if n <= rootIno || n == fuse.FUSE_UNKNOWN_INO || n == ^uint64(0) {
				t.Fatalf("%s: %d", p, n)
			}
			if q, ok := seen[n]; ok && q != p {
				t.Fatalf("%s and %s have one number", p, q)
			}
			seen[n] = p
		}
	}
}

func TestMountinfo(t *testing.T) {
	table := parseMountinfo([]byte(`22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:31 / /mnt/with\040space\134 ro,nosuid - fuse.mirrorfs ftp://h/ ro,user_id=0
nonsense
37 22 0:32 / /mnt/x rw shared:2 master:1 - fuse.other src rw
38 22 0:33 / /mnt/x ro - fuse.mirrorfs ftp://h/x ro
`))
	if len(table) != 4 {
		t.Fatalf("%+v", table)
	}
	if at, ok := mountedAt(table, `/mnt/with space\`); !ok || at.device != "0:31" || at.fsType != fsType {
		t.Errorf("%+v", at)
	}
	if at, ok := mountedAt(table, "/mnt/x"); !ok || at.device != "0:33" {
		t.Errorf("not the one on top: %+v", at)
	}
	if at, ok := mountOf(table, "0:32"); !ok || at.dir != "/mnt/x" {
		t.Errorf("%+v", at)
	}
	if _, ok := mountedAt(table, "/mnt/y"); ok {
		t.Error("found what is not there")
	}
}

func TestFusermountWords(t *testing.T) {
	for text, want := range map[string]Reason{
		"fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf": NoAllowOther,
		"fusermount3: fuse device not found, try 'modprobe fuse' first":                               NoDevice,
		"fusermount3: failed to open /dev/fuse: Permission denied":                                    NoDevice,
		"fusermount3: mount failed: Permission denied":                                                Forbidden,
		"fusermount3: mount failed: Operation not permitted":                                          Forbidden,
		"fusermount3: user has no write access to mountpoint /mnt":                                    NotOwner,
		"fusermount3: too many FUSE filesystems mounted; mount_max=N can be set in /etc/fuse.conf":    TooManyMounts,
		"fusermount3: failed to unmount /x: Device or resource busy":                                  Busy,
		"fusermount3: something new":                                                                  Other,
	} {
		if k := heard(text, "/mnt/x"); k.reason != want {
			t.Errorf("%q is taken for %v", text, k.reason)
		}
	}
}

func TestSignalMasks(t *testing.T) {
	status := []byte("Name:\tcat\nTgid:\t12\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000000002\n")
	if got := signalSet(status, "SigPnd:"); got != 1<<8 {
		t.Errorf("%x", got)
	}
	if got := signalSet(status, "ShdPnd:") &^ signalSet(status, "SigBlk:"); got != 0 {
		t.Errorf("%x", got)
	}
	if got := statusField(status, "Tgid:"); got != "12" {
		t.Errorf("%q", got)
	}
}
