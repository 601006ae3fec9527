package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

func (m *Machine) release() string {
	return strings.TrimSpace(m.read("/proc/sys/kernel/osrelease"))
}

// version reads the beginning of a kernel's release.
func version(release string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(release, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	major, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.Atoi(rest[:end])
	return major, minor, err == nil
}

func (m *Machine) kernel() []Finding {
	release := m.release()
	if release == "" {
		return one(Finding{Topic: "kernel", Mark: Note, Found: "its version is not known",
			Means: "/proc/sys/kernel/osrelease can't be read."})
	}
	return one(Finding{Topic: "kernel", Mark: OK, Found: "Linux " + release})
}

// capSysAdmin is CAP_SYS_ADMIN of capability(7).
const capSysAdmin = 21

// passthrough is whether the kernel reads whole files from the cache by itself.
func (m *Machine) passthrough() []Finding {
	f := Finding{Topic: "passthrough", Mark: Note,
		Means: "Whole files are read through the kernel's page cache instead: as exact, somewhat slower."}
	release := m.release()
	major, minor, ok := version(release)
	switch {
	case !ok:
		return nil
	case major < 6 || major == 6 && minor < 9:
		f.Found = fmt.Sprintf("not there: Linux %d.%d is older than 6.9", major, minor)
	case strings.Contains(m.read("/boot/config-"+release), "# CONFIG_FUSE_PASSTHROUGH is not set"):
		f.Found = "not there: this kernel was built without it"
	case !m.maySysAdmin():
		f.Found = "not for this user: it needs root (CAP_SYS_ADMIN)"
		f.Do = "Mount as root, or from fstab with allow_other, for the speed of a local disk."
	default:
		return one(Finding{Topic: "passthrough", Mark: OK, Found: "the kernel reads whole files from the cache itself"})
	}
	return one(f)
}

func (m *Machine) maySysAdmin() bool {
	for line := range strings.Lines(m.read("/proc/self/status")) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && n>>capSysAdmin&1 == 1
		}
	}
	return m.UID == 0
}

// wsl tells about Windows' Linux: the first one has no FUSE.
func (m *Machine) wsl() []Finding {
	release := strings.ToLower(m.release())
	if !strings.Contains(release, "microsoft") {
		return nil
	}
	if major, _, _ := version(release); major < 5 && !strings.Contains(release, "wsl2") {
		return one(Finding{Topic: "WSL", Mark: Problem, Cause: CauseFUSE, Found: "this is WSL 1, which has no FUSE",
			Do: "Convert it in Windows with: wsl --set-version DISTRIBUTION 2"})
	}
	return one(Finding{Topic: "WSL", Mark: Note, Found: "this is WSL 2",
		Means: "Mounts end with wsl --shutdown, and Windows' own disks are slow.",
		Do:    "Mount inside the Linux file system, not below /mnt/c, and keep the cache there too."})
}
