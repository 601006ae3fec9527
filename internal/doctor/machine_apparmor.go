package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Since Ubuntu 25.04 a profile of AppArmor tells fusermount3 where it may mount,
// in lines like
//
//	mount fstype=@{fuse_types} options=(nosuid,nodev) ... -> @{HOME}/**/,
//
// Mounts by root go past it, since they don't need fusermount3.

const apparmorProfile = "/etc/apparmor.d/fusermount3"

// mountRules are the patterns of folders where fusermount3 may mount, nil when
// nothing restricts it.
func (m *Machine) mountRules() []string {
	text := m.read(apparmorProfile)
	if text == "" || strings.TrimSpace(m.read("/sys/module/apparmor/parameters/enabled")) != "Y" {
		return nil
	}
	if m.exists("/etc/apparmor.d/disable/fusermount3") || m.exists("/etc/apparmor.d/force-complain/fusermount3") {
		return nil
	}
	text += "\n" + m.read("/etc/apparmor.d/local/fusermount3")
	var rules []string
	for _, line := range settings(text) {
		if strings.HasPrefix(line, "profile ") && (strings.Contains(line, "complain") || strings.Contains(line, "unconfined")) {
			return nil
		}
		rest, ok := strings.CutPrefix(strings.TrimSuffix(line, ","), "mount")
		if !ok || rest != "" && rest[0] != ' ' {
			continue
		}
		what, where, ok := strings.Cut(rest, "->")
		if !ours(what) {
			continue
		}
		if !ok {
			return nil // anywhere
		}
		rules = append(rules, strings.Trim(where, ` "`))
	}
	return rules
}

// ours reports whether the conditions of a rule can be those of our mounts.
func ours(what string) bool {
	for _, word := range strings.Fields(what) {
		if kind, ok := strings.CutPrefix(word, "fstype="); ok {
			return strings.Contains(kind, "fuse_types") || strings.Contains(kind, "fuse.*") || strings.Contains(kind, "fuse.mirrorfs")
		}
	}
	return true
}

// homes are the folders in which users' own are, as patterns.
func (m *Machine) homes() []string {
	dirs := []string{"/home/"}
	files, _ := filepath.Glob(m.at("/etc/apparmor.d/tunables/home.d/*")) // the pattern is right
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, line := range settings(string(b)) {
			if list, ok := strings.CutPrefix(strings.ReplaceAll(line, " ", ""), "@{HOMEDIRS}+="); ok {
				dirs = append(dirs, strings.Trim(list, `"`))
			}
		}
	}
	homes := []string{"/root"}
	for _, d := range dirs {
		homes = append(homes, strings.TrimSuffix(d, "/")+"/*")
	}
	return homes
}

// allows reports whether a rule of the profile lets fusermount3 mount on dir.
func (m *Machine) allows(rules []string, dir string) bool {
	for _, rule := range rules {
		variants := []string{rule}
		if rest, ok := strings.CutPrefix(rule, "@{HOME}"); ok {
			variants = variants[:0]
			for _, home := range m.homes() {
				variants = append(variants, home+rest)
			}
		}
		for _, v := range variants {
			if globPath(v).MatchString(strings.TrimSuffix(dir, "/") + "/") {
				return true
			}
		}
	}
	return false
}

// globPath is a pattern of AppArmor (apparmor.d(5), "Globbing") as an expression.
func globPath(pattern string) *regexp.Regexp {
	pattern = strings.NewReplacer("@{run}", "/{run,var/run}", "@{uid}", "{[0-9],[1-9][0-9]*}", "//", "/").Replace(pattern)
	var b strings.Builder
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**"):
			b.WriteString(".+")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '[' || c == ']':
			b.WriteByte(c)
		case c == '{':
			depth++
			b.WriteString("(?:")
		case c == '}' && depth > 0:
			depth--
			b.WriteByte(')')
		case c == ',' && depth > 0:
			b.WriteByte('|')
		case c == '-' || c == '^':
			b.WriteByte(c) // may stand in brackets
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	re, err := regexp.Compile("^" + b.String() + "$")
	if err != nil {
		return regexp.MustCompile(`\z.`) // an unreadable rule allows nothing
	}
	return re
}

func (m *Machine) apparmor() []Finding {
	rules := m.mountRules()
	if m.UID == 0 || rules == nil {
		return nil
	}
	shown := strings.ReplaceAll(strings.Join(rules, ", "), "@{HOME}", "$HOME")
	shown = strings.NewReplacer("/**/", "", "/{,**/}", "", "@{run}", "/run", "@{uid}", "UID").Replace(shown)
	if m.Dir == "" || m.allows(rules, m.Dir) {
		return one(Finding{Topic: "AppArmor", Mark: Note, Found: "fusermount3 may mount only below some folders",
			Means: "They are: " + shown + ".",
			Do:    "Mount below one of them, such as your home."})
	}
	return one(Finding{Topic: "AppArmor", Mark: Problem, Cause: CauseMountpoint,
		Found: "it does not let fusermount3 mount on " + m.Dir,
		Means: "It may mount below: " + shown + ".",
		Do: "Mount below one of them. Or allow it, as root, by adding the line \"mount fstype=fuse.* options=(nosuid,nodev) options in (ro,noatime,noexec) -> " +
			m.Dir + "/,\" and the line \"umount " + m.Dir + "/,\" to /etc/apparmor.d/local/fusermount3, and then: apparmor_parser -r " + apparmorProfile})
}
