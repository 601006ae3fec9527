package doctor

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// Machine is this machine as far as a mount depends on it.
type Machine struct {
	Root     string   // below which /dev, /etc, /proc and the like are: "/"
	UID      int      // who would mount
	Home     string   // of that user
	Path     []string // folders of programs
	CacheDir string   // absolute
	Dir      string   // where to mount, absolute; "" when that is open
	Mounted  string   // the kind of file system that is mounted on Dir; "" for none
	// Disk tells about the disk that a folder is on.
	Disk func(folder string) (Disk, error)
	// Writable says why this user can't make files in a folder.
	Writable func(folder string) error
	// MinFree is how much a mount leaves free on the cache's disk.
	MinFree int64
}

// Examine looks at everything and tells each finding as it is made.
func (m *Machine) Examine(tell func(Finding)) {
	for _, look := range []func() []Finding{
		m.kernel, m.wsl, m.device, m.helper, m.passthrough, m.allowOther, m.apparmor, m.mountpoint, m.cache, m.updatedb,
	} {
		for _, f := range look() {
			tell(f)
		}
	}
}

func one(f Finding) []Finding { return []Finding{f} }

// at is where a path of the machine really is.
func (m *Machine) at(path string) string { return filepath.Join(m.Root, path) }

// read returns what a small file holds, "" when it can't be read.
func (m *Machine) read(path string) string {
	b, err := os.ReadFile(m.at(path))
	if err != nil {
		return ""
	}
	return string(b)
}

func (m *Machine) exists(path string) bool {
	_, err := os.Lstat(m.at(path))
	return err == nil
}

// settings returns the lines of a file of settings, without comments.
func settings(text string) []string {
	var lines []string
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// inContainer reports whether this looks like the inside of a container.
func (m *Machine) inContainer() bool {
	return m.exists("/.dockerenv") || m.exists("/run/.containerenv")
}
