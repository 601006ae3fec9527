package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// files is a machine's root folder: a path to what it holds; "/" at the end
// makes a folder, "x " before what it holds a program.
type files map[string]string

// allIsWell is a machine on which all is well for a user.
func allIsWell() files {
	return files{
		"dev/fuse":                  "",
		"usr/bin/fusermount3":       "setuid",
		"etc/fuse.conf":             "# comment\nuser_allow_other\n",
		"etc/updatedb.conf":         "PRUNEPATHS=\"/tmp\"\nPRUNEFS = \"nfs fuse.mirrorfs\" # both\n",
		"proc/sys/kernel/osrelease": "6.9.3-generic\n",
		"proc/self/status":          "Name:\tx\nCapEff:\t0000000000200000\n",
		"home/maria/.cache/":        "",
		"home/maria/mirror/":        "",
	}
}

// machine makes a root folder where all is well, with changes; nil takes a file away.
func machine(t *testing.T, changes map[string]any) *Machine {
	t.Helper()
	all := allIsWell()
	for path, text := range changes {
		if text == nil {
			delete(all, path)
		} else {
			all[path] = text.(string)
		}
	}
	root := t.TempDir()
	for path, text := range all {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(path, "/"):
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
		case text == "setuid" || text == "program":
			if err := os.WriteFile(full, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			if text == "setuid" {
				if err := os.Chmod(full, 0o755|os.ModeSetuid); err != nil {
					t.Fatal(err)
				}
			}
		default:
			if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &Machine{
		Root: root, UID: 1000, Home: "/home/maria", Path: []string{"/usr/local/bin", "/usr/bin"},
		CacheDir: "/home/maria/.cache/mirrorfs", Dir: "/home/maria/mirror", MinFree: 1 << 30,
		Disk:     func(string) (Disk, error) { return Disk{Free: 100 << 30}, nil },
		Writable: func(string) error { return nil },
	}
}

func examine(m *Machine) map[string]Finding {
	found := map[string]Finding{}
	m.Examine(func(f Finding) { found[f.Topic] = f })
	return found
}

func TestMachineIsWell(t *testing.T) {
	for topic, f := range examine(machine(t, nil)) {
		if f.Mark != OK {
			t.Errorf("%s: %+v", topic, f)
		}
	}
}

func TestMachine(t *testing.T) {
	const profile = "etc/apparmor.d/fusermount3"
	confined := func(more map[string]any) map[string]any {
		all := map[string]any{"sys/module/apparmor/parameters/enabled": "Y\n", profile: ubuntu, "data/mirror/": "", "mnt/": "", "srv/home/maria/m/": ""}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	on := func(dir string) func(*Machine) { return func(m *Machine) { m.Dir = dir } }
	root := func(m *Machine) { m.UID = 0 }
	for name, c := range map[string]struct {
		files map[string]any
		with  func(*Machine)
		topic string
		mark  Mark // "": no finding
		cause Cause
		words string // in the finding
	}{
		"no /dev/fuse":          {files: map[string]any{"dev/fuse": nil}, topic: "FUSE", mark: Problem, cause: CauseFUSE, words: "modprobe fuse"},
		"... in a container":    {files: map[string]any{"dev/fuse": nil, ".dockerenv": ""}, topic: "FUSE", mark: Problem, cause: CauseFUSE, words: "--device /dev/fuse"},
		"no fusermount3":        {files: map[string]any{"usr/bin/fusermount3": nil}, topic: "fusermount3", mark: Problem, cause: CauseFUSE, words: "apt install fuse3"},
		"... for root":          {files: map[string]any{"usr/bin/fusermount3": nil}, with: root, topic: "fusermount3", mark: Note, words: "Root mounts without it"},
		"not setuid":            {files: map[string]any{"usr/bin/fusermount3": "program"}, topic: "fusermount3", mark: Problem, cause: CauseFUSE, words: "chmod u+s /usr/bin/fusermount3"},
		"no user_allow_other":   {files: map[string]any{"etc/fuse.conf": "#user_allow_other\n"}, topic: "allow-other", mark: Note, words: "user_allow_other"},
		"no fuse.conf":          {files: map[string]any{"etc/fuse.conf": nil}, topic: "allow-other", mark: Note},
		"... for root, either":  {files: map[string]any{"etc/fuse.conf": nil}, with: root, topic: "allow-other", mark: OK},
		"old kernel":            {files: map[string]any{"proc/sys/kernel/osrelease": "6.8.0-41-generic\n"}, topic: "passthrough", mark: Note, words: "Linux 6.8 is older than 6.9"},
		"very old kernel":       {files: map[string]any{"proc/sys/kernel/osrelease": "5.15.0\n"}, topic: "passthrough", mark: Note, words: "Linux 5.15"},
		"later kernel":          {files: map[string]any{"proc/sys/kernel/osrelease": "7.0-rc1\n"}, topic: "passthrough", mark: OK},
		"built without":         {files: map[string]any{"boot/config-6.9.3-generic": "# CONFIG_FUSE_PASSTHROUGH is not set\n"}, topic: "passthrough", mark: Note, words: "built without it"},
		"no capability":         {files: map[string]any{"proc/self/status": "CapEff:\t0000000000000000\n"}, topic: "passthrough", mark: Note, words: "CAP_SYS_ADMIN"},
		"PRUNEFS lacks it":      {files: map[string]any{"etc/updatedb.conf": "PRUNEFS=\"nfs fuse.sshfs\"\n"}, topic: "updatedb", mark: Note, words: "PRUNEFS"},
		"PRUNEFS is no comment": {files: map[string]any{"etc/updatedb.conf": "#PRUNEFS=\"fuse.mirrorfs\"\n"}, topic: "updatedb", mark: Note},
		"no updatedb":           {files: map[string]any{"etc/updatedb.conf": nil}, topic: "updatedb", mark: OK, words: "not installed"},
		"not WSL":               {topic: "WSL"},
		"WSL 2":                 {files: map[string]any{"proc/sys/kernel/osrelease": "6.6.87.2-microsoft-standard-WSL2\n"}, topic: "WSL", mark: Note, words: "/mnt/c"},
		"WSL 1":                 {files: map[string]any{"proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"}, topic: "WSL", mark: Problem, cause: CauseFUSE, words: "wsl --set-version"},

		"no AppArmor":              {topic: "AppArmor"},
		"AppArmor, at home":        {files: confined(nil), topic: "AppArmor", mark: Note, words: "$HOME, /mnt, /run/user/UID, /media, /tmp"},
		"AppArmor, on /mnt itself": {files: confined(nil), with: on("/mnt"), topic: "AppArmor", mark: Note},
		"AppArmor, on a home":      {files: confined(nil), with: on("/home/maria"), topic: "AppArmor", mark: Problem, cause: CauseMountpoint},
		"AppArmor, elsewhere":      {files: confined(nil), with: on("/data/mirror"), topic: "AppArmor", mark: Problem, cause: CauseMountpoint, words: "/etc/apparmor.d/local/fusermount3"},
		"AppArmor, as root":        {files: confined(nil), with: func(m *Machine) { root(m); m.Dir = "/data/mirror" }, topic: "AppArmor"},
		"AppArmor, allowed here": {files: confined(map[string]any{"etc/apparmor.d/local/fusermount3": "mount fstype=fuse.* options=(nosuid,nodev) -> /data/**/,\n"}),
			with: on("/data/mirror"), topic: "AppArmor", mark: Note},
		"AppArmor, allowed everywhere": {files: confined(map[string]any{"etc/apparmor.d/local/fusermount3": "mount,\n"}), with: on("/data/mirror"), topic: "AppArmor"},
		"AppArmor, others allowed here": {files: confined(map[string]any{"etc/apparmor.d/local/fusermount3": "mount fstype=fuse.sshfs -> /data/**/,\n"}),
			with: on("/data/mirror"), topic: "AppArmor", mark: Problem, cause: CauseMountpoint},
		"AppArmor, other homes": {files: confined(map[string]any{"etc/apparmor.d/tunables/home.d/site.local": "@{HOMEDIRS}+=/srv/home/\n"}),
			with: on("/srv/home/maria/m"), topic: "AppArmor", mark: Note},
		"AppArmor, not a home":    {files: confined(nil), with: on("/srv/home/maria/m"), topic: "AppArmor", mark: Problem, cause: CauseMountpoint},
		"AppArmor, turned off":    {files: confined(map[string]any{"sys/module/apparmor/parameters/enabled": "N\n"}), with: on("/data/mirror"), topic: "AppArmor"},
		"AppArmor, disabled":      {files: confined(map[string]any{"etc/apparmor.d/disable/fusermount3": ""}), with: on("/data/mirror"), topic: "AppArmor"},
		"AppArmor, only complain": {files: confined(map[string]any{profile: strings.Replace(ubuntu, "fusermount3 {", "fusermount3 flags=(complain) {", 1)}), with: on("/data/mirror"), topic: "AppArmor"},

		"folder is missing":     {with: on("/home/maria/none"), topic: "folder", mark: Note, words: "does not exist"},
		"folder is a file":      {with: on("/etc/fuse.conf"), topic: "folder", mark: Problem, cause: CauseMountpoint, words: "not a folder"},
		"folder is not empty":   {with: on("/home/maria"), topic: "folder", mark: Problem, cause: CauseMountpoint, words: "--allow-non-empty"},
		"folder is another's":   {with: func(m *Machine) { m.Writable = refuse("mirror") }, topic: "folder", mark: Problem, cause: CauseMountpoint, words: "belongs to you"},
		"folder has a mount":    {with: func(m *Machine) { m.Mounted = "fuse.sshfs" }, topic: "folder", mark: Problem, cause: CauseMountpoint, words: "fuse.sshfs"},
		"no folder named":       {with: on(""), topic: "folder"},
		"cache can't be":        {with: func(m *Machine) { m.CacheDir = "/etc/fuse.conf/x" }, topic: "cache", mark: Problem, cause: CauseCache, words: "--cache-dir"},
		"cache is not writable": {with: func(m *Machine) { m.Writable = refuse(".cache") }, topic: "cache", mark: Problem, cause: CauseCache, words: "permission denied"},
		"cache disk is full":    {with: disk(Disk{Free: 1 << 20}), topic: "cache", mark: Note, words: "1 GiB"},
		"cache in memory":       {with: disk(Disk{Free: 100 << 30, Kind: "memory"}), topic: "cache", mark: Note, words: "lost at a restart"},
		"cache on a network":    {with: disk(Disk{Free: 100 << 30, Kind: "network"}), topic: "cache", mark: Note, words: "local disk"},
	} {
		t.Run(name, func(t *testing.T) {
			m := machine(t, c.files)
			if c.with != nil {
				c.with(m)
			}
			f := examine(m)[c.topic]
			if f.Mark != c.mark || f.Cause != c.cause || !strings.Contains(f.Found+" "+f.Means+" "+f.Do, c.words) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func refuse(name string) func(string) error {
	return func(folder string) error {
		if filepath.Base(folder) == name {
			return unix.EACCES
		}
		return nil
	}
}

func disk(d Disk) func(*Machine) {
	return func(m *Machine) { m.Disk = func(string) (Disk, error) { return d, nil } }
}

// ubuntu is what matters of the profile that Ubuntu ships.
const ubuntu = `abi <abi/5.0>,
include <tunables/global>

@{fuse_types} = {fuse,fuse.*,fuseblk,fusectl}
profile fusermount3 /usr/bin/fusermount3 {
  include <abstractions/base>
  capability sys_admin,
  # a comment -> /data/**/,
  mount fstype=@{fuse_types} options=(nosuid,nodev) options in (ro,rw,noatime) -> @{HOME}/**/,
  mount fstype=@{fuse_types} options=(nosuid,nodev) options in (ro,rw,noatime) -> /mnt/{,**/},
  mount fstype=@{fuse_types} options=(nosuid,nodev) options in (ro,rw,noatime) -> @{run}/user/@{uid}/**/,
  mount fstype=@{fuse_types} options=(nosuid,nodev) options in (ro,rw,noatime) -> /media/**/,
  mount fstype=@{fuse_types} options=(nosuid,nodev) options in (ro,rw,noatime) -> /tmp/**/,
  umount /data/**/,
  mount fstype=fuse options=(nosuid,nodev,rw) /dev/fuse -> /var/tmp/flatpak-cache-*/**/,
  /dev/fuse rw,
  include if exists <local/fusermount3>
}
`

func TestGlobPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/mnt/{,**/}", "/mnt/", true}, {"/mnt/{,**/}", "/mnt/a/b/", true}, {"/mnt/{,**/}", "/mntx/", false},
		{"/tmp/**/", "/tmp/", false}, {"/tmp/**/", "/tmp/a/", true},
		{"@{run}/user/@{uid}/**/", "/run/user/1000/m/", true}, {"@{run}/user/@{uid}/**/", "/run/user/x/m/", false},
		{"/home/*/m?/", "/home/maria/m1/", true}, {"/home/*/m?/", "/home/a/b/m1/", false},
		{"/x[", "/x/", false},
	} {
		if got := globPath(c.pattern).MatchString(c.path); got != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.path, got)
		}
	}
}

// The parts that ask the real machine.
func TestRealMachine(t *testing.T) {
	dir := t.TempDir()
	if d, err := DiskOf(dir); err != nil || d.Free <= 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := DiskOf("/dev/shm"); err != nil || d.Kind != "memory" {
		t.Errorf("/dev/shm: %+v, %v", d, err)
	}
	if _, err := DiskOf(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := WritableBy(dir); err != nil {
		t.Error(err)
	}
	if err := WritableBy(dir + "/none"); err == nil {
		t.Error("a folder that is not there is writable")
	}
}
