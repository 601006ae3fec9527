package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mirrorfs/mirrorfs/internal/netrc"
)

// environment looks up the variables that the command was given.
type environment func(name string) string

// home is the user's own folder, also where mount(8) has cleared HOME.
func (e environment) home() string {
	if h := e("HOME"); h != "" {
		return h
	}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.HomeDir
	}
	return ""
}

// passwordVariable holds a password; it is taken out of the environment before
// anything else happens.
const passwordVariable = "MIRRORFS_PASSWORD"

// completeLogin finds user and password: in the URL, else the file named by
// --password-file, else MIRRORFS_PASSWORD, else netrc.
func (p *plan) completeLogin(c *call) error {
	u, env := &p.url, environment(c.env)
	if c.Login != nil {
		u.User, u.Password = c.Login.User, c.Login.Password
		return nil
	}
	if u.HasPassword {
		return nil
	}
	file, err := readNetrc(env)
	if err != nil {
		// The logins in it may be of no concern to this mount.
		p.warnings = append(p.warnings, fmt.Sprintf("can't read the logins: %v", err))
		file = new(netrc.File)
	}
	login, found := file.Find(u.Host, u.User)
	if found && u.User == "" {
		u.User = login.User
	}
	if env(passwordVariable) != "" && u.User == "" && p.passwordFile == "" {
		p.warnings = append(p.warnings, passwordVariable+" is not used, since no user is named: write it into the URL, like ftp://user@host/")
	}
	switch {
	case p.passwordFile != "":
		if u.Password, err = readPassword(p.passwordFile); err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
		if u.User == "" {
			return errors.New("--password-file needs a user: write it into the URL, like ftp://user@host/")
		}
	case env(passwordVariable) != "" && u.User != "":
		u.Password = env(passwordVariable)
	case found:
		u.Password = login.Password
		if file.Exposed && login.Password != "" && !strings.EqualFold(login.User, "anonymous") {
			p.warnings = append(p.warnings, fmt.Sprintf("others can read the passwords in %s: chmod 600 it", file.Path))
		}
	}
	if strings.ContainsAny(u.User+u.Password, "\r\n\x00") {
		return errors.New("user or password has a line break or NUL in it, which FTP can't carry")
	}
	return nil
}

func readNetrc(env environment) (*netrc.File, error) {
	if path := env("NETRC"); path != "" {
		return netrc.Read(path)
	}
	home := env.home()
	if home == "" {
		return new(netrc.File), nil
	}
	return netrc.Read(filepath.Join(home, ".netrc"))
}

// readPassword returns the first line of a file, a pipe too.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return "", fmt.Errorf("%s holds no password in its first line", path)
	}
	return string(line), nil
}
