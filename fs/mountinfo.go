package fs

import (
	"bytes"
	"os"
	"strings"
)

// fsType is the type of our mounts in the mount table.
const (
	subtype = "mirrorfs"
	fsType  = "fuse." + subtype
)

// mounted is one line of the mount table.
type mounted struct {
	device string // MAJOR:MINOR
	dir    string
	fsType string
}

// mountTable reads the mounts of this process's namespace, in the order in
// which they were made. It touches none of them.
func mountTable() ([]mounted, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMountinfo(b), nil
}

// parseMountinfo reads the format of proc_pid_mountinfo(5).
func parseMountinfo(b []byte) []mounted {
	var table []mounted
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		dash := -1
		for i := 6; i < len(f); i++ {
			if f[i] == "-" {
				dash = i
				break
			}
		}
		if dash < 0 || dash+1 >= len(f) {
			continue
		}
		table = append(table, mounted{device: f[2], dir: unescape(f[4]), fsType: f[dash+1]})
	}
	return table
}

// unescape undoes the kernel's octal escapes of space, tab, newline and
// backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// mountedAt returns the mount on top at dir.
func mountedAt(table []mounted, dir string) (mounted, bool) {
	for i := len(table) - 1; i >= 0; i-- {
		if table[i].dir == dir {
			return table[i], true
		}
	}
	return mounted{}, false
}

// mountOf returns the mount of a device, wherever it was moved.
func mountOf(table []mounted, device string) (mounted, bool) {
	for i := len(table) - 1; i >= 0; i-- {
		if table[i].device == device {
			return table[i], true
		}
	}
	return mounted{}, false
}
