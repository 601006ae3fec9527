package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// mountOptions is the flag -o: the options of mount(8) and of fstab lines. Each
// is set at once, so that among flags and options the last one counts.
type mountOptions struct {
	settings *settings
	flags    *pflag.FlagSet
}

func (m *mountOptions) String() string { return "" }
func (m *mountOptions) Type() string   { return "OPT[,OPT...]" }

func (m *mountOptions) Set(text string) error {
	options, err := splitOptions(text)
	if err != nil {
		return err
	}
	for _, o := range options {
		if err := m.set(o); err != nil {
			return err
		}
	}
	return nil
}

// ignored are options that are for mount(8), for systemd or for the kernel in
// ways that say nothing to a read-only network mount without devices and setuid
// programs, or that are always so.
var ignored = map[string]bool{
	"defaults": true, "auto": true, "noauto": true, "nofail": true, "_netdev": true,
	"user": true, "users": true, "nouser": true, "owner": true, "group": true,
	// mount(8) passes rw when nothing was said; whoever writes gets EROFS.
	"rw": true, "ro": true,
	"dev": true, "nodev": true, "suid": true, "nosuid": true, "exec": true,
	"sync": true, "async": true, "dirsync": true, "mand": true, "nomand": true, "silent": true, "loud": true,
	"atime": true, "noatime": true, "diratime": true, "nodiratime": true, "iversion": true, "noiversion": true,
	"relatime": true, "norelatime": true, "strictatime": true, "nostrictatime": true, "lazytime": true, "nolazytime": true,
	"default_permissions": true, "subtype": true, "fsname": true, "comment": true, "reconnect": true,
	"helper": true, "uhelper": true, "kernel_cache": true, "auto_cache": true,
}

// forKernel are passed on to it.
var forKernel = map[string]bool{
	"noexec": true, "context": true, "fscontext": true, "defcontext": true, "rootcontext": true,
}

// refused are options that promise what can't be done; the text says what to do
// instead.
var refused = map[string]string{
	"remount":         "a mirror can't be remounted; unmount it and mount it again",
	"bind":            "mount the mirror first, then bind its folder",
	"allow_root":      "use allow_other",
	"auto_unmount":    "a mountpoint left dead by a crash is taken over by the next mount",
	"drop_privileges": "use setuid=USER",
	"password":        "a password on a command line is seen by all; use password_file, MIRRORFS_PASSWORD or ~/.netrc",
	"password_stdin":  "use password_file=/dev/stdin",
	"fake":            "use mount -f",
}

func (m *mountOptions) set(option string) error {
	name, value, hasValue := strings.Cut(option, "=")
	key := strings.ReplaceAll(name, "-", "_")
	switch {
	case name == "" || ignored[key] || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-"):
		return nil
	case refused[key] != "":
		return fmt.Errorf("%s: %s", name, refused[key])
	case forKernel[key]:
		m.settings.kernel = append(m.settings.kernel, option)
		return nil
	case key == "setuid":
		m.settings.setuid = value
		return nil
	case key == "nonempty":
		name = "allow-non-empty"
	case key == "debug":
		name = "verbose"
	}
	flag := m.flags.Lookup(strings.ReplaceAll(name, "_", "-"))
	if flag == nil || flag.Name == optionFlag || flag.Name == "help" || flag.Hidden {
		if m.settings.sloppy {
			return nil
		}
		return fmt.Errorf("unknown option %q; mirrorfs --help lists them", name)
	}
	if !hasValue {
		if flag.NoOptDefVal == "" {
			return fmt.Errorf("%s needs a value, like %s=VALUE", name, name)
		}
		value = flag.NoOptDefVal
	}
	if err := m.flags.Set(flag.Name, value); err != nil {
		// The parser's own error names the flag as --flag.
		if e := (*pflag.InvalidValueError)(nil); errors.As(err, &e) {
			err = reason(e)
		}
		return fmt.Errorf("%s: %q: it %w", name, value, err)
	}
	return nil
}

// splitOptions takes a list of options apart at its commas. A comma in double
// quotes, or written "\,", belongs to the value, as do the octal escapes of
// fstab ("\054"); "\\" is a backslash.
func splitOptions(text string) ([]string, error) {
	var all []string
	var one []byte
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+3 < len(text) && isOctal(text[i+1:i+4]):
			one = append(one, (text[i+1]-'0')<<6|(text[i+2]-'0')<<3|(text[i+3]-'0'))
			i += 3
		case c == '\\' && i+1 < len(text) && strings.IndexByte(`\,"`, text[i+1]) >= 0:
			one = append(one, text[i+1])
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			all = append(all, string(one))
			one = nil
		default:
			one = append(one, c)
		}
	}
	if quoted {
		return nil, errors.New("a double quote is not closed")
	}
	all = append(all, string(one))
	for _, o := range all {
		if strings.ContainsAny(o, "\x00\n") {
			return nil, errors.New("an option has a line break or NUL in it")
		}
	}
	return all, nil
}

func isOctal(s string) bool {
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}
