package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/internal/record"
	"golang.org/x/sys/unix"
)

// Mirror says which folder of which server is cached. Its ID names the folder
// that holds everything about it, so two folders of one server, or two users
// of it, are two mirrors.
type Mirror struct {
	Host string
	Port int
	User string // "" is anonymous
	Root string // raw path as the URL gives it
	// Absolute says that Root begins at the server's root, not at the login
	// folder, which makes it another folder.
	Absolute bool
}

// ID is the mirror's folder name: the host, to be recognised by people, and a
// hash, to be unique.
func (m Mirror) ID() string {
	key := strings.Join([]string{
		strings.ToLower(m.Host), strconv.Itoa(m.Port), m.User,
		strconv.FormatBool(m.Absolute), m.Root,
	}, "\x00")
	sum := sha256.Sum256([]byte(key))
	host := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, strings.ToLower(m.Host))
	if len(host) > 60 {
		host = host[:60]
	}
	return host + "-" + hex.EncodeToString(sum[:6])
}

// Folder is where the mirror's cache lives below the cache directory.
func (m Mirror) Folder(cacheDir string) string {
	return filepath.Join(cacheDir, formatVersion, m.ID())
}

// formatVersion is the folder of this form of the cache on disk; another form
// lives beside it, and neither reads the other's.
const formatVersion = "v1"

// About is what the cache keeps of a mirror for those who look at it without a
// mount, and of the server for the next mount.
type About struct {
	URL     string          // without credentials
	Mounted time.Time       // when it was last mounted
	MaxSize int64           `json:",omitempty"` // of that mount
	MinFree int64           `json:",omitempty"`
	Profile json.RawMessage `json:",omitempty"` // of the server, as ftppool wrote it
}

const (
	aboutFile = "mirror"
	aboutKind = "mirror/1"
)

func (a About) write(folder string) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return record.Write(filepath.Join(folder, aboutFile), aboutKind, b, false)
}

// keep is write, but a full disk is no reason not to mount: what lies there can
// be read, and making room is the cache's own business.
func (a About) keep(folder string, log *slog.Logger) error {
	err := a.write(folder)
	if isFull(err) {
		log.Warn("what is known of the server can't be kept", "error", err)
		return nil
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// ReadAbout returns what is known of the mirror in folder. The error Is
// fs.ErrNotExist when it was never mounted.
func ReadAbout(folder string) (About, error) {
	var a About
	b, err := record.Read(filepath.Join(folder, aboutFile), aboutKind)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return About{}, fmt.Errorf("%w: %w", record.ErrCorrupt, err)
	}
	return a, nil
}

// LockedError says that another process has the mirror mounted.
type LockedError struct {
	Folder string
	Holder string // what the holder wrote of itself, "" if it could not be read
}

func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return "this folder of the server is already mounted by " + holder
}

// lock takes the mirror's folder for this process, and says in it who holds
// it. The kernel releases it when the file is closed or the process dies.
func lock(folder, holder string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		buf := make([]byte, 4096)
		n, _ := f.ReadAt(buf, 0) // the holder's name is a help, not a need
		return nil, &LockedError{folder, strings.TrimSpace(string(buf[:n]))}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(holder+"\n"), 0)
	}
	if err != nil && !isFull(err) { // a full disk costs no more than the name
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}
