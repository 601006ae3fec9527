package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine says what the figures were measured on.
func machine() string {
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	var memory string
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memory = fmt.Sprintf(", %.0f GiB of memory", float64(info.Totalram)*float64(info.Unit)/gib)
	}
	kernel := ""
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		kernel = ", Linux " + unix.ByteSliceToString(uts.Release[:])
	}
	return fmt.Sprintf("%d × %s%s%s", runtime.NumCPU(), cpu, memory, kernel)
}

// versions says what took part. What is not installed is left out.
func versions(ctx context.Context, bin, python string) []string {
	var all []string
	add := func(name string, words ...string) {
		out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
		if err != nil {
			return
		}
		// "curl 7.88.1 (x86_64…", "vsftpd: version 3.0.3", "rclone v1.70.0"
		for _, word := range strings.Fields(string(out)) {
			if strings.ContainsAny(word, "0123456789") {
				all = append(all, name+" "+strings.TrimPrefix(word, "v"))
				return
			}
		}
	}
	add("mirrorfs", bin, "version")
	add("rclone", "rclone", "version")
	add("curl", "curl", "--version")
	add("Python", python, "--version")
	add("aioftp", python, "-c", "import importlib.metadata as m; print(m.version('aioftp'))")
	if server, err := findServer(); err == nil {
		// It writes to its standard input.
		add("vsftpd", "sh", "-c", `"$1" -v 0>&1`, "sh", server)
	}
	return all
}
