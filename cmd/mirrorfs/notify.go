package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// What a service manager is told (Type=notify, notify-reload) of a mount in the
// foreground. One in the background is nobody's service: its parent's answer
// says it all.

// notifyVariable holds the service manager's socket, where there is one.
const notifyVariable = "NOTIFY_SOCKET"

// notify sends lines to the service manager, if one asked for them. One that is
// gone needs no news.
func notify(lines ...string) { _, _ = daemon.SdNotify(false, strings.Join(lines, "\n")) }

// notifyStarting has the manager wait as long as the start may take.
func notifyStarting(p *plan) {
	notify("STATUS=connecting to "+p.url.Host, extension(p.startWithin()))
}

func notifyReady(p *plan) {
	notify(daemon.SdNotifyReady, "STATUS=serving "+p.url.String()+" on "+p.dir)
}

// notifyReloading begins what notifyReady ends. The time tells the manager that
// the answer is to its own signal.
func notifyReloading() {
	lines := []string{daemon.SdNotifyReloading}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		lines = append(lines, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
	}
	notify(lines...)
}

// notifyStopping has the manager wait as long as an end in order may take.
func notifyStopping() {
	notify(daemon.SdNotifyStopping, "STATUS=unmounting", extension(2*busyFor+goodbye))
}

func notifyFailed(err error) { notify("STATUS=" + oneLine(err)) }

func extension(d time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())
}

// withoutManager is an environment for a process that is not the manager's.
func withoutManager(env []string) []string {
	kept := env[:0:0]
	for _, v := range env {
		if !strings.HasPrefix(v, notifyVariable+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}
