package ftppool

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// Profile is what has been found out about a server. It can be kept, as JSON,
// and given to a later Pool.
type Profile struct {
	Learned    bool // a login has told; false: nothing of the rest is known
	Banner     string
	System     string   // the answer to SYST
	Features   []string // the lines of FEAT, in upper case, sorted
	Login      string   // the folder a login starts in
	Root       string   // the mounted folder, absolute
	Listing    string   // "mlsd", or the style of LIST: "unix", "dos", ...; "" before the first
	NoMLSD     bool     // MLSD is promised, but refused
	UTF8       bool     // the server says that names are UTF-8
	IgnoreCase bool     // names are the same in any case
	EPSV       bool     // false: found not to work, PASV is used
	Pipelining bool     // several commands may be under way at once
	Restart    Restart  // whether REST can be relied on
	Zone       string   // in words, such as "UTC-03:00"; "" when it is not known
	// ZoneSamples are what is known of the server's zone, oldest first.
	ZoneSamples []ZoneSample
	TLS         string        // version and cipher; "" without encryption
	RoundTrip   time.Duration // of the last TCP connection made
}

// Restart is what is known of a server's REST.
type Restart uint8

// The states of REST.
const (
	RestartUnknown Restart = iota
	RestartProven          // a transfer from the middle ended exactly at the end
	RestartRefused         // refused, or accepted and not obeyed
)

func (r Restart) String() string { return [...]string{"unknown", "proven", "refused"}[r] }

// knowledge is a Profile and what else sessions know of their server. A value
// is never changed once it is shared.
type knowledge struct {
	Profile
	loggedIn    bool              // the first login is over, all of it is known
	features    map[string]string // of FEAT, keys in upper case
	base        string            // the mounted folder
	mlst        bool              // MLST and MLSD are there
	noMLST      bool              // ... or only promised
	pret        bool
	user        int  // how USER is answered: 331, or 230 where no password is asked for; -1: not always so
	sequential  bool // one command at a time
	epsv        bool
	epsvWorked  bool
	telnet      telnet
	noOwing     bool // what was owed did not come, or not in order; see owe.go
	closeNotify bool // TLS data connections end with a goodbye
	trip        time.Duration
	keep        time.Duration // how long an idle session is kept
	listings    int           // that were corrected for the zone
	fruitless   int           // rounds of that which told nothing
}

// together reports whether commands may be sent without waiting for replies.
func (k *knowledge) together() bool { return k.loggedIn && !k.sequential }

// grudging reports whether each CWD that is refused makes the next one that is
// wait 100 ms longer, until one succeeds: so pure-ftpd answers who guesses, and a
// look-up of a file is such a guess. After some 50 it hangs up. It is known by
// features that only it has.
func (k *knowledge) grudging() bool {
	_, stored := k.features["ESTA"]
	_, retrieved := k.features["ESTP"]
	return stored && retrieved
}

// appeased returns commands, among them a CWD that may be refused, and on a
// grudging server one more that is not.
func (k *knowledge) appeased(commands ...string) []string {
	if k.grudging() {
		commands = append(commands, "CWD "+k.base)
	}
	return commands
}

// newKnowledge is what is known at the start: the profile of an earlier pool, as
// far as the next login does not tell it again.
func newKnowledge(earlier *Profile) *knowledge {
	k := &knowledge{epsv: true, keep: keepIdle}
	if earlier != nil && earlier.Learned {
		k.Profile = *earlier
		k.Features = slices.Clone(earlier.Features)
		k.epsv, k.noMLST, k.sequential = earlier.EPSV, earlier.NoMLSD, !earlier.Pipelining
		if k.Restart == RestartRefused {
			k.Restart = RestartUnknown // servers are mended
		}
	}
	return k
}

func (p *Pool) known() *knowledge { return p.knowledge.Load() }

// learn changes what is known of the server.
func (p *Pool) learn(f func(*knowledge)) {
	p.learning.Lock()
	defer p.learning.Unlock()
	k := *p.knowledge.Load()
	f(&k)
	p.knowledge.Store(&k)
}

// Profile returns what is known of the server so far.
func (p *Pool) Profile() Profile {
	k := p.known()
	r := k.Profile
	r.Features = slices.Clone(r.Features)
	r.Pipelining = r.Learned && !k.sequential
	r.EPSV = k.epsv
	r.NoMLSD = k.noMLST
	r.RoundTrip = k.trip
	r.Root = k.base
	r.IgnoreCase = p.IgnoreCase()
	r.Zone = p.zoneName()
	return r
}

// CanRestart reports whether REST is proven to work on this server, or a proof
// is under way, for which Open waits while the transfer begins. While nothing is
// known, it makes the pool find out, with the file at path.
func (p *Pool) CanRestart(path string) bool {
	switch p.known().Restart {
	case RestartProven:
		return true
	case RestartUnknown:
		p.proveRestartSoon(path)
		return p.underProof() != nil
	}
	return false
}

// IgnoreCase reports whether names on this server are the same in any case.
func (p *Pool) IgnoreCase() bool {
	return p.cfg.IgnoreCase || p.known().Profile.IgnoreCase
}

// parseFeatures reads the text of a reply to FEAT (RFC 2389 section 3.2):
// servers indent by one space, several or none, and write in any case.
func parseFeatures(text string) map[string]string {
	features := make(map[string]string)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if (i == 0 || i == len(lines)-1) && !strings.HasPrefix(line, " ") {
			continue // "Features:" and "End"
		}
		name, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" {
			features[strings.ToUpper(name)] = arg
		}
	}
	return features
}

func featureLines(features map[string]string) []string {
	var lines []string
	for name, arg := range maps.All(features) {
		lines = append(lines, strings.TrimSpace(name+" "+arg))
	}
	slices.Sort(lines)
	return lines
}

// parser is the listing parser for what is known now.
func (p *Pool) parser(now time.Time) listing.Parser {
	return listing.Parser{Charset: p.charset, UTF8: p.known().UTF8, Location: p.cfg.Location, Now: now}
}
