package recipes

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// languages are how a block of each kind is run.
var languages = map[string][]any{
	"python": {"python3", "-"},
	"r":      {"R", "--vanilla", "--no-echo"},
}

// TestRecipes follows docs/RECIPES.md from its first line to its last.
func TestRecipes(t *testing.T) {
	if out, err := (shell{t: t}).attempt(nil, "python3", "-c", "import pyreaddbc"); err != nil {
		t.Skipf("no pyreaddbc (scripts/test-deps.sh tells why), which the recipes for .dbc files need: %s", out)
	}
	install(t)
	m := serve(t)
	t.Cleanup(func() { unmountAll(t) })
	said := map[string]string{}    // by section
	session := map[string]string{} // what was entered so far in a section, by language
	heading := ""
	for _, b := range blocks(t, "docs/RECIPES.md") {
		if b.heading != heading {
			heading, session = b.heading, map[string]string{}
		}
		s := shell{t: t}
		t.Logf("docs/RECIPES.md:%d", b.line)
		_, _, isFile := b.file()
		switch {
		case isFile:
			s.save(b)
		case b.lang == "sh":
			said[heading] += s.types(b.text)
		case languages[b.lang] != nil:
			session[b.lang] += b.text
			said[heading] = s.run(append(languages[b.lang], []byte(session[b.lang]))...)
		case b.lang == "crontab":
			cron(t, m, b.text)
		default:
			t.Fatalf("docs/RECIPES.md:%d: how is %q to be run?", b.line, b.lang)
		}
		switch {
		case strings.Contains(b.text, "jupyter execute"):
			notebook(t, m)
		case strings.Contains(b.text, "ls -l /srv/datasus"):
			strangers(t)
			for _, command := range []string{"warm --pin /srv/datasus/SIM", "warm --evict /srv/datasus/SIM", "cache clear /srv/datasus"} {
				if out, err := s.attempt(nil, "sh", "-c", "mirrorfs "+command); err == nil || !strings.Contains(out, "only the user who mounted") {
					t.Errorf("%s by a member: %v, %s", command, err, out)
				}
			}
		}
	}

	// What each section must have printed, in its order.
	for heading, want := range map[string][]string{
		"pandas": {
			fmt.Sprintf("%d conditions in %d rows\n", m.conditions, m.conditions),
			fmt.Sprintf("%d establishments in Piauí", m.establishments), m.year(),
		},
		"R": {
			fmt.Sprintf("%d rows\n", m.conditions), "NCBI curation", fmt.Sprint(m.conditions),
			"Rio Branco\nBelém\nSão Paulo\nBrasília\n", m.year(), "CACHED 12 ",
		},
		"DuckDB": {"Complete Genome", "14500", "Scaffold", "740", "Contig", "310"},
		"Last month's files, every night": {
			"OK 3 ", "/RDAC2312.dbc\n", "OK 3 ",
		},
		"A shared machine for a research group": {
			"drwxr-x--- 1 mirrors research", " SIM\n", "ftp://ftp.datasus.gov.br/dissemin/publicos on /srv/datasus\n",
			"OK 1 (330)", "CACHED 1 (330)", "SIM/CID10/TABELAS/CADMUN.DBF (pinned)\n",
		},
	} {
		rest := said[heading]
		for _, w := range want {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("%s: no %q in\n%s", heading, w, said[heading])
				break
			}
			rest = after
		}
	}
}

// year is the sum of Acre's hospital stays in 2024, as the texts print it.
func (m *mirrors) year() string {
	sum := int64(0)
	for month, cents := range m.paid {
		if strings.HasPrefix(month, "24") {
			sum += cents
		}
	}
	return fmt.Sprintf("12 months, R$ %d.%02d paid\n", sum/100, sum%100)
}

// notebook checks what the executed notebook shows.
func notebook(t *testing.T, m *mirrors) {
	t.Helper()
	b, err := os.ReadFile("/home/" + newcomer + "/first-look.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	var book struct {
		Cells []struct {
			Type    string `json:"cell_type"`
			Outputs []struct {
				Type string              `json:"output_type"`
				Data map[string][]string `json:"data"`
			} `json:"outputs"`
		} `json:"cells"`
	}
	if err := json.Unmarshal(b, &book); err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, c := range book.Cells {
		for _, o := range c.Outputs {
			shown = append(shown, strings.Join(o.Data["text/plain"], ""))
		}
	}
	all := strings.Join(shown, "\n")
	march := fmt.Sprintf("%d.%02d", m.paid["2403"]/100, m.paid["2403"]%100)
	if len(shown) != 4 || shown[0] != "12" || !strings.Contains(all, march) || shown[3] != "'cached'" {
		t.Errorf("the notebook shows:\n%s\nwant 12 files, %s paid in March, and that they are cached", all, march)
	}
}

// cron runs the lines of a crontab as cron does: by sh, in its bare environment,
// at no terminal. What a job prints is mailed; these print nothing unless they
// fail.
func cron(t *testing.T, m *mirrors, table string) {
	t.Helper()
	home := "/home/" + newcomer
	env := []string{"HOME=" + home, "LOGNAME=" + newcomer, "PATH=/usr/bin:/bin", "SHELL=/bin/sh"}
	for line := range strings.Lines(table) {
		line = strings.TrimSuffix(line, "\n")
		if regexp.MustCompile(`^[A-Z]+=`).MatchString(line) {
			env = append(env, line)
			continue
		}
		job := regexp.MustCompile(`^(?:[0-9*,/-]+\s+){5}(.+)$`).FindStringSubmatch(line)
		if job == nil {
			t.Fatalf("no line of a crontab: %q", line)
		}
		if regexp.MustCompile(`(^|[^\\])%`).MatchString(job[1]) {
			t.Fatalf("cron ends a command at a bare %%: %q", line)
		}
		command := strings.ReplaceAll(job[1], `\%`, "%")
		s := shell{t: t, env: env}
		read := func() string {
			b, err := os.ReadFile(home + "/warm.log")
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}

		// All is there since the text had it typed, and the mount is gone, as after
		// a restart.
		unmountAll(t)
		if out := s.run("/bin/sh", "-c", command); out != "" || !strings.Contains(read(), "CACHED 3 ") {
			t.Errorf("a good night prints %q; the log:\n%s", out, read())
		}
		// What can't be had is mailed, with the reason.
		last := regexp.MustCompile(`RDAC\d+\.dbc`).FindString(read())
		path := stays + last
		content := m.datasus.Tree().ReadFile(path)
		m.datasus.Tree().WriteFile(path, append(content, 0), published.AddDate(0, 1, 0))
		m.datasus.On("RETR", path, refusal)
		out := s.run("/bin/sh", "-c", command)
		if !strings.Contains(out, "ERROR 1") || !strings.Contains(out, last+": ") || !strings.Contains(out, "on fire") {
			t.Errorf("a bad night prints %q", out)
		}
		m.datasus.ClearRules()
		if out := s.run("/bin/sh", "-c", command); out != "" || !strings.Contains(read(), "OK 1 ") {
			t.Errorf("the next good night prints %q; the log:\n%s", out, read())
		}
	}
}

var refusal = ftptest.Reply(550, "The disk is on fire.")

// strangers checks that who is not of the group sees nothing.
func strangers(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("useradd", "--no-create-home", "--home-dir", "/", "joao").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := shell{t: t, user: "joao", env: []string{"HOME=/", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"}}
	for _, command := range []string{
		"ls /srv/datasus", "cat /srv/datasus/SIM/CID10/TABELAS/CADMUN.DBF",
		"mirrorfs warm /srv/datasus/SIM", "mirrorfs refresh /srv/datasus",
	} {
		if out, err := s.attempt(nil, "sh", "-c", command); err == nil || !strings.Contains(out, "Permission denied") && !strings.Contains(out, "can't be spoken to") {
			t.Errorf("%s by a stranger: %v, %s", command, err, out)
		}
	}
}
