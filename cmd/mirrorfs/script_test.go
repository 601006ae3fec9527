package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
	"github.com/mirrorfs/mirrorfs/internal/mountinfo"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mirrorfs":            main,
		"mount.fuse.mirrorfs": main,
	})
}

// TestScripts runs testdata/*.txt: the command line as users meet it. SERVER is
// an open server, LOCKED one where only maria with the password s3cr3t may log
// in, both host:port.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			tree := map[string]string{
				"pub/a.txt": "alpha\n", "pub/b.txt": "beta\n", "pub/deep/c.txt": "gamma\n",
			}
			open := ftptest.New(tb, ftptest.Options{Files: tree})
			locked := ftptest.New(tb, ftptest.Options{Files: tree, Users: map[string]string{"maria": "s3cr3t"}})
			env.Setenv("SERVER", open.Addr())
			env.Setenv("LOCKED", locked.Addr())
			env.Setenv("PORT", strconv.Itoa(open.Port()))
			env.Setenv("PROXY", relay(tb, "hidden.invalid", "127.0.0.1"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("MIRRORFS_PASSWORD", "")
			env.Setenv("NETRC", "")
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values["open"], env.Values["locked"] = open, locked
			env.Defer(func() { sweep(tb, env.WorkDir) })
			for _, dir := range []string{"home", "mnt"} {
				if err := os.MkdirAll(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     exitCode,
			"mounted":  mounted,
			"await":    await,
			"serve":    change,
			"secretly": secretly,
			"nocore":   noCore,
			"hold":     hold,
			"tmux":     doctorOnScreen,
			"terminal": onPseudoTerminal,
			"unserve":  remove,
			"freeport": freePort,
			"fetch":    fetch,
		},
	})
}

// relay is an HTTP proxy that knows one host, as another, and returns its address.
func relay(t testing.TB, host, as string) string {
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, port, _ := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || name != host {
			http.Error(w, "not that", http.StatusForbidden)
			return
		}
		far, err := net.Dial("tcp", net.JoinHostPort(as, port))
		if err != nil {
			http.Error(w, "not there", http.StatusBadGateway)
			return
		}
		defer far.Close()
		near, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(far, in)
			far.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(near, far)
	}))
	t.Cleanup(p.Close)
	return p.Listener.Addr().String()
}

// sweep fails the test for what a script left mounted, and takes it away.
func sweep(t testing.TB, dir string) {
	all, err := mountinfo.Read()
	if err != nil {
		t.Error(err)
	}
	for _, m := range all {
		if strings.HasPrefix(m.Point, dir+"/") {
			t.Errorf("left mounted: %s", m.Point)
			if err := unix.Unmount(m.Point, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}
}

// exitCode runs mirrorfs and checks its code: code N WORDS...
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s\n%s%s", got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// mounted checks that DIR is a mirror of ours: mounted DIR
func mounted(ts *testscript.TestScript, neg bool, args []string) {
	m, ok, err := mountinfo.At(ts.MkAbs(args[0]))
	ts.Check(err)
	if ok = ok && m.Type == fsType; ok == neg {
		ts.Fatalf("%s: %+v", args[0], m)
	}
}

// change writes a file on the open server: serve PATH TEXT
func change(ts *testscript.TestScript, _ bool, args []string) {
	tree := ts.Value("open").(*ftptest.Server).Tree()
	tree.WriteFile(args[0], []byte(args[1]), time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC))
}

// remove takes a file off the open server: unserve PATH
func remove(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("open").(*ftptest.Server).Tree().Remove(args[0])
}

// secretly checks that nothing that others can see of the mount on DIR holds the
// text: secretly TEXT DIR
func secretly(ts *testscript.TestScript, _ bool, args []string) {
	text, dir := args[0], ts.MkAbs(args[1])
	m, ok, err := mountinfo.At(dir)
	ts.Check(err)
	if !ok {
		ts.Fatalf("%s is not mounted", dir)
	}
	shown := map[string]string{"the mount table": m.Source + " " + m.Super}
	pid, err := processOf(context.Background(), dir)
	ts.Check(err)
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
		ts.Check(err)
		shown[name] = string(b)
	}
	for what, s := range shown {
		if strings.Contains(s, text) {
			ts.Fatalf("%s shows it: %q", what, s)
		}
	}
	if !strings.Contains(shown["cmdline"], args[1]) {
		ts.Fatalf("the command line does not tell the mount: %q", shown["cmdline"])
	}
}

// noCore checks that the process behind the mount on DIR leaves no core dumps,
// which would hold passwords: nocore DIR
func noCore(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := processOf(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "limits"))
	ts.Check(err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Fields(rest)[0] == "0" {
			return
		}
	}
	ts.Fatalf("core dumps are possible:\n%s", b)
}

// hold opens a file until the script ends: hold FILE
func hold(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { f.Close() })
}

// freePort sets a variable to a port of loopback that is free: freeport NAME
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// fetch makes what a web server says at a URL the output: fetch URL
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	r, err := http.Get(args[0])
	ts.Check(err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	ts.Check(err)
	if _, err := ts.Stdout().Write(b); err != nil || r.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s, %v", args[0], r.Status, err)
	}
}

// await waits until DIR is a mirror of ours: await DIR
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if m, ok, err := mountinfo.At(ts.MkAbs(args[0])); err == nil && ok && m.Type == fsType {
			return
		}
	}
	ts.Fatalf("%s was never mounted", args[0])
}
