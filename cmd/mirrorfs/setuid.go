package main

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// become makes the process the user's, as mount -o setuid=USER asks for. The
// caller then starts the program anew: only a new image may be read by its new
// user's tools.
func become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return failf(exitUsage, "setuid: there is no user %q", name)
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	var groups []int
	names, err := u.GroupIds()
	if err != nil {
		return failf(exitFailure, "setuid: find the groups of %s: %w", name, err)
	}
	for _, s := range names {
		if n, err := strconv.Atoi(s); err == nil {
			groups = append(groups, n)
		}
	}
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(groups) },
		func() error { return syscall.Setgid(gid) },
		func() error { return syscall.Setuid(uid) },
		func() error { return os.Setenv("HOME", u.HomeDir) },
		func() error { return os.Setenv("USER", u.Username) },
		func() error { return os.Setenv("LOGNAME", u.Username) },
		func() error { return os.Unsetenv("XDG_CACHE_HOME") },
		func() error { return os.Unsetenv("XDG_RUNTIME_DIR") },
	} {
		if err := step(); err != nil {
			return failf(exitFailure, "setuid: become %s: %w", name, err)
		}
	}
	return nil
}

// isUser reports whether the process is the named user's already.
func isUser(name string) bool {
	me := strconv.Itoa(os.Geteuid())
	if name == me {
		return true
	}
	u, err := user.Lookup(name)
	return err == nil && u.Uid == me
}
