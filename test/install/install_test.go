package install

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

const oldVersion, newVersion = "v1.0.0", "v1.0.0-3-gabc1234"

// TestPackage takes the package through its life: installed, mounted from by
// services, fstab and by hand, upgraded below its mounts, removed and purged.
func TestPackage(t *testing.T) {
	tree := map[string]string{"a.txt": "alpha\n", "sub/b.txt": "beta\n", "sub/c.txt": "gamma\n"}
	open := ftptest.New(t, ftptest.Options{Files: tree})
	locked := ftptest.New(t, ftptest.Options{Files: tree, Users: map[string]string{"maria": "s3cr3t"}})
	l := &life{open: "ftp://" + open.Addr(), locked: "ftp://maria@" + locked.Addr()}

	packages := dist(t, oldVersion)
	again := dist(t, oldVersion)
	l.old, l.new = one(t, packages, "*.deb"), one(t, dist(t, newVersion), "*.deb")
	t.Run("reproducible", func(t *testing.T) {
		run(t, packages, "sha256sum", "--check", "--quiet", "SHA256SUMS")
		a, errA := os.ReadFile(filepath.Join(packages, "SHA256SUMS"))
		b, errB := os.ReadFile(filepath.Join(again, "SHA256SUMS"))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("built twice, it is not the same: %v %v\n%s%s", errA, errB, a, b)
		}
	})
	t.Run("tarball", func(t *testing.T) { testTarball(t, packages) })

	l.box = boot(t)
	l.do("useradd --create-home --shell /bin/sh maria; mkdir /srv/pub /srv/locked /srv/datasus '/srv/with space' /mnt/byhand")
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"install", l.install}, {"service", l.service}, {"user service", l.userService}, {"fstab", l.fstab}, {"automount pair", l.pair},
		{"upgrade", l.upgrade}, {"remove", l.remove}, {"purge", l.purge},
	} {
		if !t.Run(step.name, func(t *testing.T) { l.t = t; step.do() }) {
			break // each goes on where the one before ended
		}
	}
	l.t = t
}

// life is that of a package in a box.
type life struct {
	*box
	open, locked string // URLs of servers
	old, new     string // packages
}

// ended waits until no mirrorfs serves a folder any more: all of those with "".
func (l *life) ended(dir string) {
	l.t.Helper()
	l.until("mirrorfs on "+dir+" has ended", func() bool {
		return !strings.Contains(l.do("ps -C mirrorfs -o args= || true"), dir+"\n")
	})
}

func (l *life) install() {
	l.copy(l.old, "/root/old.deb")
	l.copy(l.new, "/root/new.deb")
	l.do("dpkg -i /root/old.deb")
	l.want("mirrorfs version", "mirrorfs "+oldVersion+"\n")
	l.want("dpkg --verify mirrorfs", "")
	l.want("man -w mirrorfs-warm mount.fuse.mirrorfs", "/usr/share/man/man1/mirrorfs-warm.1.gz\n/usr/share/man/man8/mount.fuse.mirrorfs.8.gz\n")
	l.do("man mirrorfs-mount | grep -q -- --dir-cache-time")
	l.do("bash -n /usr/share/bash-completion/completions/mirrorfs")
	l.want("stat -c %a /usr/bin/mirrorfs /etc/mirrorfs", "755\n755\n")
	l.want("systemd-analyze verify /usr/lib/systemd/system/mirrorfs@.service 2>&1 || true", "")
	l.want(`cd /usr/share/doc/mirrorfs/examples
		systemd-analyze verify ./srv-datasus.mount ./srv-datasus.automount 2>&1 || true`, "")
}

// service mounts as root, with a password that only root may read.
func (l *life) service() {
	l.write("/etc/mirrorfs/locked.conf", "URL="+l.locked+"/\nDIR=/srv/locked\nOPTIONS=--allow-other --uid maria\nMIRRORFS_PASSWORD=s3cr3t\n")
	l.do("chmod 600 /etc/mirrorfs/locked.conf")
	// Started means that it answers, for all of the machine, not for the service only.
	l.do("systemctl enable mirrorfs@locked; systemctl start mirrorfs@locked")
	l.want("cat /srv/locked/a.txt; setpriv --reuid maria --clear-groups cat /srv/locked/sub/b.txt", "alpha\nbeta\n")
	if out := l.do("systemctl show --property StatusText mirrorfs@locked"); !strings.HasPrefix(out, "StatusText=serving ftp://127.0.0.1:") || strings.Contains(out, "s3cr3t") {
		l.t.Errorf("status: %s", out)
	}
	l.want("stat -c '%a %U' /var/cache/mirrorfs /srv/locked/a.txt", "700 root\n644 maria\n")
	l.do("systemctl reload mirrorfs@locked; systemctl is-active mirrorfs@locked")
	if out := l.do("mirrorfs status --json /srv/locked"); !strings.Contains(out, `"passthrough": true`) {
		l.t.Errorf("the unit takes passthrough away: %s", out)
	}
	l.want("grep -c s3cr3t /proc/$(systemctl show --property MainPID --value mirrorfs@locked)/environ || true", "0\n")

	// A crash is followed by a new start, over the dead mount.
	l.write("/etc/systemd/system/mirrorfs@.service.d/soon.conf", "[Service]\nRestartSec=100ms\n")
	l.do("systemctl daemon-reload; systemctl kill --signal KILL mirrorfs@locked")
	l.until("mounted again", func() bool {
		out, _ := l.try("systemctl is-active mirrorfs@locked && cat /srv/locked/sub/c.txt")
		return out == "active\ngamma\n"
	})
	// What only a change of the settings can mend is not tried again, and is said.
	l.write("/etc/mirrorfs/wrong.conf", "URL="+l.locked+"/sub\nDIR=/srv/pub\nMIRRORFS_PASSWORD=other\n")
	if out, err := l.try("systemctl start mirrorfs@wrong"); err == nil {
		l.t.Errorf("started with a wrong password: %s", out)
	}
	l.want("systemctl show --property ExecMainStatus,NRestarts,ActiveState mirrorfs@wrong", "NRestarts=0\nExecMainStatus=6\nActiveState=failed\n")
	l.do("systemctl status mirrorfs@wrong | grep -q 'Status: \".*530'")
	l.do("systemctl stop mirrorfs@locked")
	l.want("grep -c fuse.mirrorfs /proc/self/mounts || true", "0\n")
	l.do("systemctl start mirrorfs@locked")
}

// userService mounts as a user, through fusermount3.
func (l *life) userService() {
	l.do(`cp -r /home/maria /home/maria.before
		install -d -o maria -m 700 /run/user/$(id -u maria)
		install -d -o maria /home/maria/.config/mirrorfs /home/maria/pub`)
	l.write("/home/maria/.config/mirrorfs/pub.conf", "URL="+l.open+"/\nDIR=pub\n")
	l.do("systemd-run --quiet --unit manager -p User=maria -p Delegate=yes -p Type=notify -p Environment=XDG_RUNTIME_DIR=/run/user/$(id -u maria) /lib/systemd/systemd --user")
	const maria = "setpriv --reuid maria --regid maria --clear-groups env HOME=/home/maria XDG_RUNTIME_DIR=/run/user/$(id -u maria) "
	l.do(maria + "systemctl --user start mirrorfs@pub")
	l.want(maria+"cat /home/maria/pub/a.txt", "alpha\n")
	l.do(maria + "systemctl --user reload mirrorfs@pub; " + maria + "systemctl --user is-active mirrorfs@pub")
	l.do(maria + "systemctl --user stop mirrorfs@pub")
	l.want("grep -c /home/maria/pub /proc/self/mounts || true", "0\n")
	l.do("systemctl stop manager")
}

// fstab mounts by its lines: when it is used, by a user, as a user.
func (l *life) fstab() {
	lines := []string{
		fmt.Sprintf(`%s/sub /srv/with\040space fuse.mirrorfs noauto,x-systemd.automount,_netdev,allow_other 0 0`, l.open),
		fmt.Sprintf(`%s/ /home/maria/books fuse.mirrorfs noauto,user,cache_dir=/home/maria/cache 0 0`, l.open),
		fmt.Sprintf(`%s/ /home/maria/data fuse.mirrorfs noauto,nofail,setuid=maria 0 0`, l.locked),
		fmt.Sprintf(`%s/sub /home/maria/auto fuse.mirrorfs noauto,x-systemd.automount,setuid=maria 0 0`, l.locked),
	}
	l.write("/etc/fstab", strings.Join(lines, "\n")+"\n")
	l.write("/home/maria/.netrc", "machine 127.0.0.1 login maria password s3cr3t\n")
	l.do("cd /home/maria; mkdir books data auto; chmod 600 .netrc; chown -R maria .netrc books data auto; systemctl daemon-reload")

	l.do("systemctl start remote-fs.target 'srv-with\\x20space.automount'")
	l.want("grep -c 'with.040space fuse.mirrorfs' /proc/self/mounts || true", "0\n")
	l.want("cat '/srv/with space/b.txt'", "beta\n")
	l.want("grep -c 'with.040space fuse.mirrorfs' /proc/self/mounts", "1\n")
	l.do("systemctl stop 'srv-with\\x20space.mount'")
	l.ended("/srv/with space")
	l.want("cat '/srv/with space/c.txt'", "gamma\n")

	// The folder of an automount is root's, so a user can't mount there, and is told.
	l.do("systemctl start home-maria-auto.automount")
	if out, err := l.try("ls /home/maria/auto"); err == nil {
		l.t.Errorf("automount as a user: %s", out)
	}
	l.until("the journal has the reason", func() bool {
		_, err := l.try("journalctl --unit home-maria-auto.mount | grep -q 'folder that belongs to you'")
		return err == nil
	})
	l.do("systemctl stop home-maria-auto.automount")

	const maria = "setpriv --reuid maria --regid maria --clear-groups env HOME=/home/maria "
	l.do(maria + "mount /home/maria/books")
	l.want(maria+"cat /home/maria/books/a.txt", "alpha\n")
	l.do(maria + "mirrorfs unmount /home/maria/books")
	l.do("mount /home/maria/data")
	l.want(maria+"cat /home/maria/data/a.txt; stat -c %U /home/maria/.cache/mirrorfs", "alpha\nmaria\n")
	l.do(maria + "mirrorfs unmount /home/maria/data")
}

// pair mounts by the units that are given as an example, of which only the URL is
// other.
func (l *life) pair() {
	l.do("cd /usr/share/doc/mirrorfs/examples; for u in srv-datasus.mount srv-datasus.automount; do" +
		" sed 's,^What=.*,What=" + l.open + "/%%2Fsub,' $u >/etc/systemd/system/$u; done; systemctl daemon-reload; systemctl start srv-datasus.automount")
	l.want("grep -c 'srv/datasus fuse.mirrorfs' /proc/self/mounts || true", "0\n")
	l.want("cat /srv/datasus/c.txt", "gamma\n")
	l.do("systemctl stop srv-datasus.automount srv-datasus.mount")
	l.want("grep -c /srv/datasus /proc/self/mounts || true", "0\n")
}

// upgrade replaces the program below a service, an automount and a mount by hand.
func (l *life) upgrade() {
	l.do("mirrorfs " + l.open + "/ /mnt/byhand")
	l.want("cat /mnt/byhand/a.txt", "alpha\n")
	main := l.do("systemctl show --property MainPID mirrorfs@locked")
	l.do("dpkg -i /root/new.deb")
	l.want("mirrorfs version", "mirrorfs "+newVersion+"\n")
	l.want("systemctl show --property MainPID mirrorfs@locked", main)
	// They go on, ask the server for what they do not hold, and answer.
	l.want("cat /mnt/byhand/sub/b.txt /srv/locked/sub/c.txt '/srv/with space/c.txt'", "beta\ngamma\ngamma\n")
	for _, dir := range []string{"/mnt/byhand", "/srv/locked", "'/srv/with space'"} {
		if out := l.do("mirrorfs status " + dir); !strings.Contains(out, "mirrorfs "+oldVersion) {
			l.t.Errorf("status of a mount of before: %s", out)
		}
		l.do("mirrorfs refresh " + dir)
	}
	if out := l.do("mirrorfs warm /mnt/byhand"); !strings.Contains(out, "OK") {
		l.t.Errorf("warm: %s", out)
	}
	l.do("mirrorfs cache verify /mnt/byhand")
	l.do("mirrorfs unmount /mnt/byhand")
	l.ended("/mnt/byhand")
	l.do("systemctl restart mirrorfs@locked")
	if out := l.do("mirrorfs status /srv/locked"); !strings.Contains(out, "mirrorfs "+newVersion) {
		l.t.Errorf("status of a mount of after: %s", out)
	}
}

// remove leaves settings and cache, and the mounts that are no services.
func (l *life) remove() {
	l.do("dpkg --remove mirrorfs")
	l.want("grep -c /srv/locked /proc/self/mounts || true", "0\n")
	l.want("cat '/srv/with space/b.txt'", "beta\n")
	l.do("systemctl stop 'srv-with\\x20space.automount' 'srv-with\\x20space.mount'")
	l.ended("")
	l.do("ls /etc/mirrorfs/locked.conf /var/cache/mirrorfs/v1")
	var left []string
	for _, path := range l.changed("mirrorfs") {
		switch {
		case strings.HasPrefix(path, "/etc/mirrorfs"), strings.HasPrefix(path, "/var/cache/mirrorfs"),
			strings.HasPrefix(path, "/var/lib/dpkg/info/mirrorfs."),
			strings.HasPrefix(path, "/home/maria/"),    // hers
			strings.HasPrefix(path, "/var/cache/man/"), // man's own
			strings.HasPrefix(path, "/etc/systemd/system/mirrorfs@.service.d"), strings.HasSuffix(path, ".wants/mirrorfs@locked.service"):
		default:
			left = append(left, path)
		}
	}
	if len(left) > 0 {
		l.t.Errorf("left after removal: %q", left)
	}
}

// purge leaves nothing but what administrators and users made themselves.
func (l *life) purge() {
	l.do("dpkg --purge mirrorfs")
	left := slices.DeleteFunc(l.changed("mirrorfs"), func(path string) bool {
		return strings.HasPrefix(path, "/home/maria/") || strings.HasPrefix(path, "/var/cache/man/") || strings.HasPrefix(path, "/etc/systemd/system/mirrorfs@.service.d")
	})
	if len(left) > 0 {
		l.t.Errorf("left after purging: %q", left)
	}
}
