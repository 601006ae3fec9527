package metrics

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func full() control.Status {
	return control.Status{
		Program: "v1", URL: "ftp://host/a", MountPoint: "/mnt/caf\xe9", Since: time.UnixMilli(1e12 + 500), Passthrough: true,
		Sessions:  control.Sessions{Bound: 4, Cap: 3, Busy: 2, Idle: 1, Waiting: 5, Logins: 7, Failures: 6, BackOffUntil: time.Now().Add(time.Hour)},
		Transfers: make([]control.Stream, 2),
		Cache:     control.Cache{Used: 10, Max: 20, Files: 3, Hits: 8, Misses: 9, Fetched: 11, Evicted: 12, Changed: 13},
		Listings:  control.Listings{Memory: 14, MemoryBytes: 15, Disk: 16, Hits: 17, Misses: 18, Sent: 19, Unparsed: 21},
	}
}

// TestNames: names and help follow Prometheus' conventions, and all are ours.
func TestNames(t *testing.T) {
	r := registry(full)
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%+v, %v", problems, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	process := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mirrorfs_") {
			t.Errorf("%s does not begin with mirrorfs_", f.GetName())
		}
		if strings.HasPrefix(f.GetName(), "mirrorfs_process_") {
			process++
		}
	}
	if process == 0 || len(families)-process != len(values)+1 {
		t.Errorf("%d families, %d of the process, of %d values", len(families), process, len(values))
	}
}

// TestFigures: each value is that of the status.
func TestFigures(t *testing.T) {
	want := map[string]string{
		"start_time_seconds": "1.0000000005e+09", "passthrough": "1", "offline": "0",
		"sessions_max": "4", "sessions_learned_max": "3", "sessions_busy": "2", "sessions_idle": "1",
		"requests_waiting": "5", "server_backing_off": "1", "logins_total": "7", "server_failures_total": "6", "transfers": "2",
		"cache_bytes": "10", "cache_max_bytes": "20", "cache_files": "3", "cache_hits_total": "8", "cache_misses_total": "9",
		"cache_evicted_bytes_total": "12", "fetched_bytes_total": "11", "files_changed_total": "13",
		"listings_memory": "14", "listings_memory_bytes": "15", "listings_disk": "16", "listings_hits_total": "17",
		"listings_misses_total": "18", "listings_sent_total": "19", "listings_unparsed_lines_total": "21",
	}
	if len(want) != len(values) {
		t.Errorf("%d of %d values are checked", len(want), len(values))
	}
	s, err := Listen(t.Context(), "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(full, slog.New(slog.DiscardHandler))
	text := get(t, "http://"+s.Addr().String()+"/metrics")
	for name, v := range want {
		if !regexp.MustCompile(`(?m)^mirrorfs_` + name + ` ` + regexp.QuoteMeta(v) + `$`).MatchString(text) {
			t.Errorf("mirrorfs_%s is not %s", name, v)
		}
	}
	if info := `mirrorfs_info{mount_point="/mnt/caf?",url="ftp://host/a",version="v1"} 1`; !strings.Contains(text, info) {
		t.Errorf("no %s", info)
	}
	if t.Failed() {
		t.Log(text)
	}
	if _, err := Listen(t.Context(), s.Addr().String()); err == nil {
		t.Error("an address in use was taken")
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", url, r.Status, err, b)
	}
	return string(b)
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"9100": "127.0.0.1:9100", ":9100": "127.0.0.1:9100", "0.0.0.0:9100": "0.0.0.0:9100",
		"localhost:1": "localhost:1", "[::1]:9100": "[::1]:9100", "[::]:9100": "[::]:9100",
		"": "", "host": "", "host:": "", "host:http": "", "::1": "", "::1:9100": "", "[::1]": "", "1:2:3": "", ":0": "", "65536": "", "-1": "",
	} {
		if got, err := Address(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// TestDocs holds the table in docs/COMMANDS.md to what is served.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/COMMANDS.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| `mirrorfs_info` | " + "1; its labels tell what is mounted where: `version`, `url`, `mount_point`. |\n"
	for _, v := range values {
		table += "| `mirrorfs_" + v.name + "` | " + v.help + " |\n"
	}
	if !strings.Contains(string(b), table) {
		t.Errorf("docs/COMMANDS.md has another table than:\n%s", table)
	}
	for _, name := range regexp.MustCompile(`mirrorfs_[a-z_]+[a-z]`).FindAllString(string(b), -1) {
		if !strings.Contains(table, "`"+name+"`") && name != "mirrorfs_process" {
			t.Errorf("docs/COMMANDS.md speaks of %s, which there is not", name)
		}
	}
}
