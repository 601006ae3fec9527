package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mountScript mounts and unmounts in a mount namespace of its own, where mirrorfs
// is installed by a name without touching the machine.
const mountScript = `
set -eu
mount --make-rprivate /
sbin=$(readlink -f /sbin)
mkdir "$BASE/overlay"
mount -t tmpfs none "$BASE/overlay"
mkdir "$BASE/overlay/upper" "$BASE/overlay/work"
mount -t overlay overlay -o "lowerdir=$sbin,upperdir=$BASE/overlay/upper,workdir=$BASE/overlay/work" "$sbin"
ln -s "$PROGRAM" "$sbin/$NAME"
"$@"
mountpoint -q "$DIR"
cat "$DIR/dir/file.txt"
grep " $DIR " /proc/self/mountinfo >&2
umount "$DIR"
if mountpoint -q "$DIR"; then echo still mounted; fi
`

// TestMountCommand: mount -t fuse.mirrorfs and fstab lines work, through our own
// helper and through that of fuse3.
func TestMountCommand(t *testing.T) {
	s := smallServer(t)
	const standard = "_netdev,noauto,user,x-systemd.automount,x-systemd.mount-timeout=30,nofail"
	// By its own helper's name, and by its name alone, which fuse3's helper runs.
	for _, name := range []string{"mount.fuse.mirrorfs", "mirrorfs"} {
		for _, way := range []string{"mount", "fstab"} {
			t.Run(name+" "+way, func(t *testing.T) {
				p := newPlace(t, plain)
				options := fmt.Sprintf("%s,ro,connections=2,dir_cache_time=10m,timeout=20s,cache-dir=%s,log_file=%s,allow_other,umask=077", standard, p.cache, p.log)
				words := []string{"mount", "-t", "fuse.mirrorfs", s.url(""), p.dir, "-o", options}
				if way == "fstab" {
					fstab := filepath.Join(p.base, "fstab")
					line := fmt.Sprintf("%s %s fuse.mirrorfs %s 0 0\n", s.url(""), p.dir, options)
					if err := os.WriteFile(fstab, []byte(line), 0o600); err != nil {
						t.Fatal(err)
					}
					words = []string{"mount", "-T", fstab, p.dir}
				}
				program := p.prog.build(t)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				cmd := exec.CommandContext(ctx, "unshare", append([]string{"-m", "sh", "-c", mountScript, "sh"}, words...)...)
				cmd.Env = append(p.environ(), "NAME="+name, "PROGRAM="+program, "DIR="+p.dir, "BASE="+p.base)
				var errs strings.Builder
				cmd.Stderr = &errs
				out, err := cmd.Output()
				if err != nil || string(out) != "content\n" {
					t.Fatalf("%v: %s%s%s", err, out, &errs, p.logTail())
				}
				if !strings.Contains(errs.String(), "fuse.mirrorfs") || !strings.Contains(errs.String(), s.Addr()) {
					t.Errorf("mounted as %s", &errs)
				}
				until(t, patience, "the process ended", func() bool { return daemon(p.dir) == 0 })
			})
		}
	}
}
