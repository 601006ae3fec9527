package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// free is an address that nobody listens at.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// metrics is what a mount serves of them.
func metrics(t testing.TB, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Close = true
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || !bytes.Contains(b, []byte("mirrorfs_info")) {
		t.Fatalf("metrics: %s, %v, %q", answer.Status, err, b)
	}
	return string(b)
}

func smallServer(t testing.TB) *scripted {
	f := &fixture{}
	f.text("dir/file.txt", "content\n")
	return serve(t, "datasus", f, options{}).(*scripted)
}

// reads checks that a mount of smallServer answers.
func reads(t testing.TB, dir string) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(dir, "dir/file.txt")); err != nil || string(b) != "content\n" {
		t.Fatalf("%s: %q, %v\n", dir, b, err)
	}
}

// TestUnmount: every way to end a mount ends it, and its process.
func TestUnmount(t *testing.T) {
	s := smallServer(t)
	ways := map[string]func(*mounted) error{
		"mirrorfs unmount": func(m *mounted) error { m.unmount(); return nil },
		"mirrorfs umount": func(m *mounted) error {
			if code, out, errs := m.run("umount", m.dir); code != 0 || out+errs != "" {
				t.Errorf("exit code %d, %s%s", code, out, errs)
			}
			return nil
		},
		"fusermount3 -u": func(m *mounted) error { return exec.Command("fusermount3", "-u", m.dir).Run() },
		"umount":         func(m *mounted) error { return exec.Command("umount", m.dir).Run() },
		"umount -l":      func(m *mounted) error { return exec.Command("umount", "-l", m.dir).Run() },
		"SIGINT":         func(m *mounted) error { return m.proc.signal(unix.SIGINT) },
		"SIGTERM":        func(m *mounted) error { return m.proc.signal(unix.SIGTERM) },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			m := newPlace(t, raced).mount(s.url(""))
			reads(t, m.dir)
			if err := way(m); err != nil {
				t.Fatal(err)
			}
			if !m.gone {
				m.ended()
			}
			if left := names(t, m.dir); len(left) != 0 {
				t.Errorf("the folder below the mount holds %q", left)
			}
		})
	}
}

// TestForeground: -f stays until it is told to go, logs to stderr, and ends with
// code 0.
func TestForeground(t *testing.T) {
	s := smallServer(t)
	for _, end := range []string{"SIGINT", "SIGTERM", "unmount"} {
		t.Run(end, func(t *testing.T) {
			p := newPlace(t, raced)
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			cmd := p.command(ctx, "mount", "-f", "-v", "--cache-dir", p.cache, s.url(""), p.dir)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, patience, "mounted", func() bool { _, ok := mountAt(p.dir); return ok })
			reads(t, p.dir)
			switch end {
			case "SIGINT":
				cmd.Process.Signal(unix.SIGINT)
			case "SIGTERM":
				cmd.Process.Signal(unix.SIGTERM)
			case "unmount":
				if err := exec.Command("fusermount3", "-u", p.dir).Run(); err != nil {
					t.Error(err)
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended by %s: %v\n%s", end, err, &errs)
			}
			if out.Len() > 0 || errs.Len() == 0 {
				t.Errorf("stdout %q, stderr %q, want a log on stderr", &out, &errs)
			}
			if _, ok := mountAt(p.dir); ok {
				t.Error("still mounted")
			}
			p.checkRaces()
		})
	}
}

// TestTakeOver: a mountpoint left dead by a crash is taken over by the next
// mount.
func TestTakeOver(t *testing.T) {
	s := smallServer(t)
	p := newPlace(t, raced)
	m := p.mount(s.url(""))
	reads(t, m.dir)
	m.kill()
	if _, err := os.ReadDir(p.dir); err == nil || !strings.Contains(err.Error(), "not connected") {
		t.Fatalf("the mountpoint is not dead: %v", err)
	}
	m = p.mount(s.url(""))
	reads(t, m.dir)
	m.unmount()
	if e, ok := mountAt(p.dir); ok {
		t.Errorf("the dead mount is still there: %+v", e)
	}
}

// TestUnmountDead: a dead mountpoint can be unmounted.
func TestUnmountDead(t *testing.T) {
	s := smallServer(t)
	p := newPlace(t, plain)
	m := p.mount(s.url(""))
	m.kill()
	if code, _, errs := p.run("unmount", p.dir); code != 0 {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if _, ok := mountAt(p.dir); ok {
		t.Error("still mounted")
	}
}

// TestUnmountBusy: a mount in use is not ended by unmount, which says so.
func TestUnmountBusy(t *testing.T) {
	s := smallServer(t)
	m := newPlace(t, raced).mount(s.url(""))
	f, err := os.Open(m.path("dir/file.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code, _, errs := m.run("unmount", m.dir)
	if code == 0 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "busy") && !strings.Contains(errs, "in use") {
		t.Errorf("unmount of a busy mount: exit code %d, %q", code, errs)
	}
	reads(t, m.dir)
	f.Close()
	m.unmount()
}

// TestNotMounted: unmount of what is no mount says so.
func TestNotMounted(t *testing.T) {
	p := newPlace(t, plain)
	if code, _, errs := p.run("unmount", p.dir); code == 0 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "not") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

// TestMountErrors: whatever is wrong is one line with a reason, a documented exit
// code, and nothing left behind.
func TestMountErrors(t *testing.T) {
	open := smallServer(t)
	closed := ftptest.New(t, ftptest.Options{Profile: ftptest.DATASUS(), Users: map[string]string{"maria": "right"}})
	full := ftptest.New(t, ftptest.Options{MaxPerAddr: 1, CapReply: "421 Too many users."})
	holder := newPlace(t, plain).mount("ftp://" + full.Addr() + "/")
	_ = holder
	dead := ftptest.New(t, ftptest.Options{})
	dead.Stop()
	mute := ftptest.New(t, ftptest.Options{})
	mute.Freeze()
	t.Cleanup(mute.Thaw)
	login := func(user string) string { return "ftp://" + user + closed.Addr() + "/" }
	for _, c := range []struct {
		name, url string
		dir       func(p *place) string // nil: the place's
		options   []string
		code      int
		says      []string
	}{
		{"no scheme", "ftp.datasus.gov.br/dissemin", nil, nil, 2, []string{"ftp://"}},
		{"other scheme", "http://localhost/", nil, nil, 2, []string{"ftp://"}},
		{"bad port", "ftp://localhost:99999/", nil, nil, 2, []string{"port"}},
		{"unknown option", open.url(""), nil, []string{"--conections", "3"}, 2, []string{"--conections"}},
		{"bad number", open.url(""), nil, []string{"--connections", "0"}, 2, []string{"--connections"}},
		{"bad size", open.url(""), nil, []string{"--cache-size", "much"}, 2, []string{"--cache-size"}},
		{"bad time", open.url(""), nil, []string{"--timeout", "soon"}, 2, []string{"--timeout"}},
		{"bad zone", open.url(""), nil, []string{"--timezone", "Mars/Olympus"}, 2, []string{"--timezone"}},
		{"bad mount option", open.url(""), nil, []string{"-o", "frobnicate"}, 2, []string{"frobnicate"}},
		{"missing folder", open.url(""), func(p *place) string { return p.base + "/nowhere" }, nil, 3, []string{"nowhere"}},
		{"file as folder", open.url(""), func(p *place) string {
			name := p.base + "/a-file"
			os.WriteFile(name, nil, 0o600)
			return name
		}, nil, 3, []string{"a-file"}},
		{"folder not empty", open.url(""), func(p *place) string {
			os.WriteFile(p.dir+"/mine", nil, 0o600)
			return p.dir
		}, nil, 3, []string{"empty"}},
		{"unknown host", "ftp://no-such-host.invalid/", nil, nil, 5, []string{"no-such-host.invalid"}},
		{"nobody listens", "ftp://" + dead.Addr() + "/", nil, nil, 5, []string{"refused", dead.Addr()}},
		{"silent server", "ftp://" + mute.Addr() + "/", nil, []string{"--timeout", "2s"}, 5, []string{mute.Addr()}},
		{"full server", "ftp://" + full.Addr() + "/dir", nil, []string{"--timeout", "2s"}, 5, []string{"Too many users"}},
		{"wrong password", login("maria:wrong@"), nil, nil, 6, []string{"530", "maria"}},
		{"anonymous refused", login(""), nil, nil, 6, nil},
		{"missing remote folder", open.url("nowhere/here"), nil, nil, 7, []string{"nowhere/here"}},
		{"remote file", open.url("dir/file.txt"), nil, nil, 7, []string{"dir/file.txt"}},
		{"bad cache", open.url(""), nil, []string{"--cache-dir", "/proc/nowhere"}, 8, []string{"/proc/nowhere"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, plain)
			dir := p.dir
			if c.dir != nil {
				dir = c.dir(p)
			}
			before := names(t, p.dir)
			code, out, errs := p.run(append(append([]string{"--cache-dir", p.cache, "--log-file", p.log}, c.options...), c.url, dir)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errs)
			}
			if out != "" || strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "mirrorfs: ") {
				t.Errorf("stdout %q, stderr %q, want one line", out, errs)
			}
			for _, s := range append(c.says, "") {
				if !strings.Contains(errs, s) {
					t.Errorf("%q does not say %q", errs, s)
				}
			}
			if strings.Contains(errs, "wrong") && strings.Contains(errs, ":wrong") {
				t.Errorf("%q shows the password", errs)
			}
			if after := names(t, p.dir); !slices.Equal(before, after) {
				t.Errorf("the folder held %q, now %q", before, after)
			}
			if left := leftovers(p.base); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			t.Log(strings.TrimSpace(errs))
		})
	}
}

// TestSecondMount: a root that is mounted is not mounted again on the same
// cache; other folders of the server are, side by side.
func TestSecondMount(t *testing.T) {
	s := smallServer(t)
	first := newPlace(t, plain)
	m := first.mount(s.url(""))
	second := newPlace(t, plain)
	second.cache = first.cache
	code, _, errs := second.run(second.words(s.url(""))...)
	if code != 8 || !strings.Contains(errs, first.dir) || strings.Count(errs, "\n") != 1 {
		t.Errorf("the same root again: exit code %d, %q, want 8 and the name of the first", code, errs)
	}
	again := newPlace(t, plain)
	if code, _, errs := again.run("--cache-dir", again.cache, s.url(""), first.dir); code != 3 || strings.Count(errs, "\n") != 1 {
		t.Errorf("the same folder again: exit code %d, %q, want 3", code, errs)
	}
	side := second.mount(s.url("dir"))
	if b, err := os.ReadFile(side.path("file.txt")); err != nil || string(b) != "content\n" {
		t.Errorf("a folder of the same server: %q, %v", b, err)
	}
	reads(t, m.dir)
	side.unmount()
	m.unmount()
}

// TestPasswords: each way to give a password logs in, and it is shown nowhere.
func TestPasswords(t *testing.T) {
	const secret = "s3cr3t:p@ss word"
	tree := ftptest.NewTree()
	tree.WriteFile("dir/file.txt", []byte("content\n"), epoch)
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.DATASUS(), Tree: tree, Users: map[string]string{"maria": secret}})
	user := "ftp://maria@" + s.Addr() + "/"
	for name, prepare := range map[string]func(p *place) (url string, options []string){
		"URL": func(p *place) (string, []string) {
			return "ftp://maria:s3cr3t%3Ap%40ss%20word@" + s.Addr() + "/", nil
		},
		"environment": func(p *place) (string, []string) {
			p.env = append(p.env, "MIRRORFS_PASSWORD="+secret)
			return user, nil
		},
		"file": func(p *place) (string, []string) {
			file := filepath.Join(p.base, "password")
			os.WriteFile(file, []byte(secret+"\n"), 0o600)
			return user, []string{"--password-file", file}
		},
		"netrc": func(p *place) (string, []string) {
			os.WriteFile(filepath.Join(p.base, "home/.netrc"), []byte("machine "+s.Host()+" login maria password \""+secret+"\"\n"), 0o600)
			return "ftp://" + s.Addr() + "/", nil
		},
		"mount options": func(p *place) (string, []string) {
			file := filepath.Join(p.base, "password")
			os.WriteFile(file, []byte(secret+"\n"), 0o600)
			return user, []string{"-o", "password_file=" + file}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, raced)
			url, options := prepare(p)
			addr := free(t)
			m := p.mount(url, append(options, "-v", "-v", "--metrics", addr)...)
			reads(t, m.dir)
			shown := map[string]string{"log": p.logTail(), "metrics": metrics(t, addr)}
			for _, words := range [][]string{{"status", m.dir}, {"status", "--json", m.dir}, {"refresh", m.path("nowhere")}, {"warm", m.path("nowhere")}} {
				_, out, errs := p.run(words...)
				shown[strings.Join(words, " ")] = out + errs
			}
			e, _ := mountAt(m.dir)
			shown["mount table"] = e.source + e.superOptions
			ps, err := exec.Command("ps", "-e", "-o", "args").Output()
			if err != nil {
				t.Fatal(err)
			}
			shown["ps"] = string(ps)
			if name != "environment" { // which only its owner can read
				env, err := os.ReadFile("/proc/" + strconv.Itoa(m.proc.pid) + "/environ")
				if err != nil {
					t.Fatal(err)
				}
				shown["environment"] = string(env)
			}
			for _, x := range []string{"user.mirrorfs.url", "user.mirrorfs.error"} {
				buf := make([]byte, 4096)
				if n, err := unix.Getxattr(m.path("dir/file.txt"), x, buf); err == nil {
					shown[x] = string(buf[:n])
				}
			}
			for where, text := range shown {
				if strings.Contains(text, "s3cr3t") {
					t.Errorf("%s shows the password:\n%s", where, text)
				}
			}
		})
	}
}

// TestHangUp: SIGHUP makes the mount ask the server again, and it goes on.
func TestHangUp(t *testing.T) {
	s := smallServer(t)
	m := newPlace(t, raced).mount(s.url(""))
	reads(t, m.dir)
	if got := names(t, m.path("dir")); !slices.Equal(got, []string{"file.txt"}) {
		t.Fatalf("%q", got)
	}
	s.Tree().WriteFile("dir/new.txt", []byte("new\n"), time.Now())
	if got := names(t, m.path("dir")); !slices.Equal(got, []string{"file.txt"}) {
		t.Fatalf("a fresh listing was asked for again: %q", got)
	}
	if err := m.proc.signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the new file is shown", func() bool { return slices.Contains(names(t, m.path("dir")), "new.txt") })
	reads(t, m.dir)
}

// TestLogs: a background mount logs into --log-file, as text or JSON.
func TestLogs(t *testing.T) {
	s := smallServer(t)
	for _, format := range []string{"text", "json"} {
		p := newPlace(t, plain)
		m := p.mount(s.url(""), "--log-format", format)
		reads(t, m.dir)
		m.unmount()
		b, err := os.ReadFile(p.log)
		if err != nil || len(b) == 0 {
			t.Fatalf("no log: %v", err)
		}
		for line := range strings.Lines(string(b)) {
			if (format == "json") != strings.HasPrefix(line, "{") {
				t.Errorf("a line of the log in form %s: %s", format, line)
			}
		}
	}
}

// TestUserOptions: owner, group and modes are what the options say.
func TestUserOptions(t *testing.T) {
	s := smallServer(t)
	m := newPlace(t, plain).mount(s.url(""), "--uid", "1234", "--gid", "4321", "--umask", "027")
	for path, mode := range map[string]uint32{"dir": unix.S_IFDIR | 0o550, "dir/file.txt": unix.S_IFREG | 0o440} {
		var st unix.Stat_t
		if err := unix.Lstat(m.path(path), &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != 1234 || st.Gid != 4321 || st.Mode&^0o222 != mode {
			t.Errorf("%s: owner %d:%d, mode %o, want 1234:4321 and %o", path, st.Uid, st.Gid, st.Mode, mode)
		}
	}
}

// TestNobodyLooksInside: a mount of an ordinary user is closed to the user's other
// processes, which is also what keeps programs that collect cores from it.
func TestNobodyLooksInside(t *testing.T) {
	s := smallServer(t)
	p := newPlace(t, plain)
	out, errs, err := unprivileged(t, p, `
		"$@"
		for p in /proc/[0-9]*; do
			if [ "$(readlink "$p/exe")" = "$1" ] || grep -qs "$DIR" "$p/cmdline" && [ "$(cat "$p/comm")" = mirrorfs ]; then
				pid=${p#/proc/}
			fi
		done
		stat -c "of user %u" "/proc/$pid/task"
		stat -c "owned by %u" "/proc/$pid/environ" # root's, of a process that is closed
		cat "/proc/$pid/environ" "/proc/$pid/mem" || true
		cat "$DIR/dir/file.txt"
		"$1" unmount "$DIR"`, p.words(s.url("")))
	if want := "of user 65534\nowned by 0\ncontent\n"; err != nil || out != want || strings.Count(errs, "Permission denied") != 2 {
		t.Errorf("%v, %q, want %q\n%s", err, out, want, errs)
	}
	until(t, patience, "the process ended", func() bool { return daemon(p.dir) == 0 })
}
