package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "512": 512, "512B": 512, "64k": 64 << 10, "64K": 64 << 10, "64KiB": 64 << 10, "64kB": 64000,
		"20G": 20 << 30, "20Gi": 20 << 30, "1.5T": 3 << 39, "20 GiB": 20 << 30, "off": unlimited, "OFF": unlimited,
	} {
		var got size
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("size %q = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1", "-1G", "1X", "1e3", "0x10", "1 2", "NaN", "Inf", "9999999P", "1.2.3", "20GG"} {
		var got size
		if err := got.Set(text); err == nil {
			t.Errorf("size %q was taken for %d", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1 << 10: "1K", 20 << 30: "20G", 3 << 39: "1.5T", math.MaxInt64 - 1: "8E"} {
		if got := showBytes(n); got != want {
			t.Errorf("showBytes(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "30s": 30 * time.Second, "1h30m": 90 * time.Minute,
		"2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "1500ms": 1500 * time.Millisecond,
	} {
		var got span
		if err := got.Set(text); err != nil || time.Duration(got) != want {
			t.Errorf("time %q = %v, %v; want %v", text, time.Duration(got), err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1s", "d", "1dd", "-1d", "1x", "99999d99999999h"} {
		var got span
		if err := got.Set(text); err == nil {
			t.Errorf("time %q was taken for %v", text, time.Duration(got))
		}
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 5 * time.Minute: "5m", 30 * time.Second: "30s", 90 * time.Minute: "1h30m"} {
		s := span(d)
		if s.String() != want {
			t.Errorf("%v is shown as %s, want %s", d, s.String(), want)
		}
	}
}

func TestZone(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for name, want := range map[string]int{"America/Sao_Paulo": -3 * 3600, "-03:00": -3 * 3600, "+0530": 19800, "+01": 3600, "UTC": 0, "Z": 0} {
		l, err := zone(name)
		if err != nil {
			t.Errorf("zone %q: %v", name, err)
			continue
		}
		if _, got := at.In(l).Zone(); got != want {
			t.Errorf("zone %q is %d s from UTC, want %d", name, got, want)
		}
	}
}

// newSettings returns settings with their flags, as a mount has them.
func newSettings() (*settings, *pflag.FlagSet) {
	s := new(settings)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	s.declare(f)
	return s, f
}

func TestMountOptions(t *testing.T) {
	s, f := newSettings()
	err := f.Parse([]string{"--connections", "7", "-o",
		`rw,,_netdev,x-systemd.requires=a\,b,x-gvfs-show,comment=mine,cache_dir=/a\054b\040c,dir-cache-time=2h,allow_other,` +
			`context="system_u:object_r:user_home_t:s0,c1",noexec,setuid=maria,umask=077,connections=2,ignore_case=false`})
	if err != nil {
		t.Fatal(err)
	}
	if s.cacheDir != "/a,b c" || time.Duration(s.dirCacheTime) != 2*time.Hour || !s.allowOther || s.umask != 0o77 ||
		s.connections != 2 || s.setuid != "maria" || s.ignoreCase {
		t.Errorf("settings: %+v", s)
	}
	if want := []string{"context=system_u:object_r:user_home_t:s0,c1", "noexec"}; !slices.Equal(s.kernel, want) {
		t.Errorf("for the kernel: %q, want %q", s.kernel, want)
	}
	for option, why := range map[string]string{
		"frobnicate=secret": "unknown option", "password=secret": "password_file", "cache_size": "needs a value",
		"cache_size=x": "size", "remount": "unmount", `context="a`: "quote", "help": "unknown", "option=x": "unknown",
		"sloppy": "unknown", "uid=no-such-user": "no such user",
	} {
		_, f := newSettings()
		err := f.Parse([]string{"-o", option})
		var value *pflag.InvalidValueError
		if !errors.As(err, &value) {
			t.Errorf("-o %s: %v", option, err)
			continue
		}
		if text := flagError(nil, err).Error(); !strings.Contains(text, why) || strings.Contains(text, "secret") {
			t.Errorf("-o %s: %q does not say %q, or says too much", option, text, why)
		}
	}
}

// TestEveryFlagHasAGroup keeps new flags from being lost in --help.
func TestEveryFlagHasAGroup(t *testing.T) {
	_, f := newSettings()
	f.VisitAll(func(fl *pflag.Flag) {
		if !fl.Hidden && (len(fl.Annotations[groupOf]) != 1 || !slices.Contains(groups, fl.Annotations[groupOf][0])) {
			t.Errorf("--%s has no group", fl.Name)
		}
		if strings.Contains(fl.Usage, "\n") || fl.Usage == "" {
			t.Errorf("--%s has no line of help", fl.Name)
		}
	})
}

func TestMountArgs(t *testing.T) {
	for _, c := range []struct {
		program   string
		args, out []string
		ok        bool
	}{
		{"/usr/bin/mirrorfs", []string{"-f", "u", "d"}, []string{"-f", "u", "d"}, false},
		{"/sbin/mount.fuse.mirrorfs", []string{"u", "d", "-o", "rw"}, []string{"-o", "rw", "--", "u", "d"}, true},
		{"mount.mirrorfs", []string{"u", "-d", "-sfnv", "-o", "a", "-t", "fuse.mirrorfs", "-N", "ns"}, nil, true},
		{"mount.mirrorfs", []string{"mirrorfs#u", "d", "-sfnv", "-o", "a,b", "-o", "c", "-t", "fuse.mirrorfs"},
			[]string{"--sloppy", "--fake", "-o", "a,b", "-o", "c", "--", "u", "d"}, true},
		{"mount.mirrorfs", []string{"u", "d", "-o"}, nil, true},
	} {
		out, ok, err := mountArgs(c.program, c.args)
		if ok != c.ok || (err != nil) != (c.out == nil) || !slices.Equal(out, c.out) {
			t.Errorf("mountArgs(%q, %q) = %q, %v, %v; want %q, %v", c.program, c.args, out, ok, err, c.out, c.ok)
		}
	}
}

func TestShownHasNoPasswords(t *testing.T) {
	c := call{Args: []string{"-v", "ftp://me:secret@host/a@b", "/mnt/a:b@c", "-o", "rw,x-y=ftp://u:secret@p", "ftp://me@host/"}}
	want := []string{"-v", "ftp://me@host/a@b", "/mnt/a:b@c", "-o", "rw,x-y=ftp://u@p", "ftp://me@host/"}
	if got := c.shown(); !slices.Equal(got, want) {
		t.Errorf("shown = %q, want %q", got, want)
	}
	for _, mistyped := range []string{"ftp:/maria:s3cr3t@host/", "ftp//maria:s3cr3t@host/", "ftp://maria:12#s3cr3t@host/"} {
		c := call{Args: []string{mistyped, "/mnt"}}
		if got := c.shown(); !c.exposed() || strings.Contains(got[0], "s3cr3t") {
			t.Errorf("%q is shown as %q", mistyped, got)
		}
	}
	if !c.exposed() || (&call{Args: want}).exposed() {
		t.Error("exposed is wrong")
	}
}

func TestSinkRendersWithoutTimeAndLevel(t *testing.T) {
	for _, form := range []string{"text", "json"} {
		handler := func(w io.Writer, o *slog.HandlerOptions) slog.Handler {
			if form == "json" {
				return slog.NewJSONHandler(w, o)
			}
			return slog.NewTextHandler(w, o)
		}
		var levels []slog.Level
		var lines []string
		log := slog.New(newSink(handler, &slog.HandlerOptions{Level: slog.LevelInfo}, func(l slog.Level, s string) error {
			levels, lines = append(levels, l), append(lines, s)
			return nil
		}))
		log.Debug("no")
		log.With("a", 1).WithGroup("g").Warn("hello", "time", "kept")
		log.Error("bye")
		if want := []slog.Level{slog.LevelWarn, slog.LevelError}; !slices.Equal(levels, want) {
			t.Errorf("%s: levels %v, want %v", form, levels, want)
		}
		if form == "text" {
			if want := []string{"msg=hello a=1 g.time=kept", "msg=bye"}; !slices.Equal(lines, want) {
				t.Errorf("lines %q, want %q", lines, want)
			}
			continue
		}
		var got map[string]any
		if err := json.NewDecoder(bytes.NewReader([]byte(lines[0]))).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if want := map[string]any{"msg": "hello", "a": 1.0, "g": map[string]any{"time": "kept"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("line %v, want %v", got, want)
		}
	}
}

// FuzzMountOptions holds the parser of -o to: no panic, and a list without
// escapes and quotes is taken apart at its commas and nowhere else.
func FuzzMountOptions(f *testing.F) {
	for _, s := range []string{"rw,_netdev,connections=2", `a="b,c",d\,e\054f`, `cache_dir=/a\040b,,x-y`, `"`, `\`, `umask=9,uid=root`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		options, err := splitOptions(s)
		if err == nil && !strings.ContainsAny(s, `\"`) && strings.Join(options, ",") != s {
			t.Errorf("splitOptions(%q) = %q", s, options)
		}
		set, flags := newSettings()
		m := mountOptions{set, flags}
		_ = m.Set(s) // whatever it says, it must return
	})
}
