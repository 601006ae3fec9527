package doctor

import (
	"slices"
	"strings"
)

// updatedb is what walks all folders once a day, unless it is told not to.
func (m *Machine) updatedb() []Finding {
	const conf = "/etc/updatedb.conf"
	if !m.exists(conf) {
		return one(Finding{Topic: "updatedb", Mark: OK, Found: "not installed"})
	}
	for _, line := range settings(m.read(conf)) {
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(name) != "PRUNEFS" {
			continue
		}
		kinds := strings.Fields(strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`)))
		if slices.Contains(kinds, "fuse.mirrorfs") {
			return one(Finding{Topic: "updatedb", Mark: OK, Found: "passes mirrors by (PRUNEFS)"})
		}
	}
	return one(Finding{Topic: "updatedb", Mark: Note, Found: "PRUNEFS in " + conf + " lacks fuse.mirrorfs",
		Means: "A mount shows it only what is held already, so it costs the server nothing, but locate lists it.",
		Do:    "Add fuse.mirrorfs to PRUNEFS, as root."})
}
