package realftp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// find returns the path of a server's binary and of the folder it was unpacked
// into, "" if it is installed.
func find(kind Kind) (binary, unpacked string, err error) {
	dir := os.Getenv("MIRRORFS_FTPD_DIR")
	if dir == "" {
		dir = filepath.Join(repository(), ".deps", "ftpd")
	}
	binary = filepath.Join(dir, "usr", "sbin", string(kind))
	if _, err := os.Stat(binary); err == nil {
		return binary, dir, nil
	}
	for _, p := range []string{string(kind), filepath.Join("/usr/sbin", string(kind))} {
		if p, err := exec.LookPath(p); err == nil {
			return p, "", nil
		}
	}
	return "", "", fmt.Errorf("realftp: there is no %s in %s nor on PATH: run scripts/test-deps.sh", kind, dir)
}

// repository is the folder of go.mod at or above the working directory.
func repository() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, serr := os.Stat(filepath.Join(dir, "go.mod")); serr == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return "."
}
