// Package mountinfo reads the kernel's table of mounts. It touches no mount, so
// it answers also where one of them is dead or hangs.
package mountinfo

import (
	"bytes"
	"errors"
	"os"
	"strings"
)

// Mount is one line of the table (proc(5), /proc/pid/mountinfo).
type Mount struct {
	Device  string // major:minor, "0:45"
	Point   string // where it is mounted, an absolute path
	Options string // of this mount point: "ro,nosuid"
	Type    string // "ext4", "fuse.mirrorfs"
	Source  string // a device, or what the file system calls its source
	Super   string // options of the file system
}

// Read returns the mounts of this process's namespace, in the order in which
// they were mounted.
func Read() ([]Mount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parse(b)
}

// At returns the mount that is seen at point, an absolute path without links:
// the last one that was mounted there.
func At(point string) (m Mount, ok bool, err error) {
	all, err := Read()
	for _, c := range all {
		if c.Point == point {
			m, ok = c, true
		}
	}
	return m, ok, err
}

func parse(b []byte) ([]Mount, error) {
	var all []Mount
	for line := range bytes.Lines(b) {
		f := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
		// 36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/root rw
		sep := 6
		for sep < len(f) && f[sep] != "-" {
			sep++
		}
		if sep+2 >= len(f) {
			return nil, errors.New("/proc/self/mountinfo has a line of another form")
		}
		m := Mount{Device: f[2], Point: unescape(f[4]), Options: f[5], Type: f[sep+1], Source: unescape(f[sep+2])}
		if sep+3 < len(f) {
			m.Super = f[sep+3]
		}
		all = append(all, m)
	}
	return all, nil
}

// unescape decodes the octal escapes of space, tab, newline, # and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func isOctal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return false
		}
	}
	return true
}
