package ftptest

import (
	"context"
	"fmt"
	"time"
)

// Cmd is a command as a script sees it, before it is obeyed. A connection just
// made shows up as the verb CONNECT.
type Cmd struct {
	Session   int
	Verb, Arg string // as received; the verb in upper case
	Path      string // what Arg means, from the root of the tree, without a leading "/"
	Offset    int64  // the REST in force
	N         int    // the how many-th with this verb since the start or Reset, from 1
	Encrypted bool
}

// Action is what a script makes of a command. The zero Action changes nothing.
// Several fields may be combined; they apply in the order written here.
type Action struct {
	Wait  <-chan struct{} // first wait until this is closed
	Delay time.Duration   // first let this much time pass
	Drop  Drop            // close the control connection at this moment
	Abort bool            // ... and do it with a reset

	Reply   string // answer this instead of obeying; without the last CRLF, may have several lines
	Raw     []byte // answer exactly these bytes instead of obeying
	Endless bool   // answer a reply that never ends instead of obeying
	Silent  bool   // answer nothing and do not obey

	Listing []byte  // LIST, MLSD, NLST: send these bytes instead
	Content Content // RETR: send this file instead
	Cut     *Cut    // cut the transfer
	Final   string  // the reply after the transfer

	Late <-chan struct{} // that reply comes only when this is closed

	Then func() // called when the fault begins: after Wait and Delay, or when the cut is reached
}

// Drop is the moment at which the control connection is closed.
type Drop uint8

// The moments.
const (
	DropNever  Drop = iota
	DropBefore      // when the command arrives; it is not obeyed
	DropDuring      // when Cut.At bytes are sent (at once without a Cut); the data goes on
	DropFinal       // after all data, instead of the final reply
	DropAfter       // after the final reply
)

// Cut ends or halts a transfer.
type Cut struct {
	At    int64 // after so many bytes of this transfer
	How   How
	Until <-chan struct{} // Stall: the transfer goes on when this is closed; nil: never
}

// How is the way in which a transfer is cut.
type How uint8

// The ways.
const (
	With426    How = iota // the data connection is closed in order, the reply is 426
	With451               // ... is 451
	With226               // the data connection is closed in order, the reply is 226 as if all were well
	Reset                 // the data connection is reset, the reply is 426
	Stall                 // both connections stay open and silent
	NoReply               // the data connection is closed in order, no reply ever comes
	Disconnect            // both connections are closed, as when the server dies
)

// CutAt ends a transfer after n of its bytes.
func CutAt(n int64, how How) Action { return Action{Cut: &Cut{At: n, How: how}} }

// StallAt halts a transfer after n of its bytes, if it has so many, until the
// gate is closed.
func StallAt(n int64, gate <-chan struct{}) Action {
	return Action{Cut: &Cut{At: n, How: Stall, Until: gate}}
}

// Reply answers a command instead of obeying it.
func Reply(code int, text string) Action { return Action{Reply: fmt.Sprintf("%d %s", code, text)} }

// DropAt closes the control connection at the moment told.
func DropAt(d Drop) Action { return Action{Drop: d} }

// Wait obeys a command only after the gate is closed.
func Wait(gate <-chan struct{}) Action { return Action{Wait: gate} }

// Rule applies an Action to the commands it matches. Of several rules the first
// one whose turn it is wins; a Script comes before all rules.
type Rule struct {
	Verb  string          // "" or "*": any
	Path  string          // "*": any; else as Cmd.Path
	Match func(*Cmd) bool // nil: Verb and Path decide alone. It must not call the server
	Skip  int             // so many matches pass unharmed first
	Every int             // then each n-th match is hit (the n-th, the 2n-th, ...); 0: each
	Times int             // at most so many are hit; 0: no bound
	Action
}

// Armed is a rule in force.
type Armed struct {
	srv     *Server
	rule    Rule
	matched int // guarded by srv.mu, as is fired
	fired   int
}

// Script sets a function that is asked about every command; nil removes it. It is
// called from the sessions' goroutines, several at once, and may wait.
func (s *Server) Script(f func(*Cmd) Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = f
}

// On arms an action for every command with this verb and path ("*" for any).
func (s *Server) On(verb, path string, a Action) *Armed {
	return s.Add(Rule{Verb: verb, Path: path, Action: a})
}

// Once arms an action for the next command with this verb and path.
func (s *Server) Once(verb, path string, a Action) *Armed {
	return s.Add(Rule{Verb: verb, Path: path, Times: 1, Action: a})
}

// Every arms an action for each n-th command with this verb and path.
func (s *Server) Every(n int, verb, path string, a Action) *Armed {
	return s.Add(Rule{Verb: verb, Path: path, Every: n, Action: a})
}

// Add arms a rule.
func (s *Server) Add(r Rule) *Armed {
	a := &Armed{srv: s, rule: r}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, a)
	return a
}

// ClearRules removes the script and all rules.
func (s *Server) ClearRules() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script, s.rules = nil, nil
}

// Remove takes the rule out of force.
func (a *Armed) Remove() {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	for i, r := range a.srv.rules {
		if r == a {
			a.srv.rules = append(a.srv.rules[:i:i], a.srv.rules[i+1:]...)
			return
		}
	}
}

// Fired is how many commands the rule has hit.
func (a *Armed) Fired() int {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	return a.fired
}

// Await waits until the rule has hit n commands.
func (a *Armed) Await(ctx context.Context, n int) error {
	return a.srv.Await(ctx, func() bool { return a.Fired() >= n })
}

// action finds what is to be done about a command.
func (s *Server) action(c *Cmd) Action {
	o := s.opts()
	s.mu.Lock()
	s.counts[c.Verb]++
	c.N = s.counts[c.Verb]
	s.notify()
	script := s.script
	s.mu.Unlock()
	if script != nil {
		if a := script(c); !a.zero() {
			return a
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.rules {
		if a.turn(c, o.IgnoreCase) {
			s.notify()
			return a.rule.Action
		}
	}
	return Action{}
}

// turn counts a matching command and tells whether it is hit. Callers hold srv.mu.
func (a *Armed) turn(c *Cmd, ignoreCase bool) bool {
	r := &a.rule
	if r.Verb != "" && r.Verb != "*" && r.Verb != c.Verb {
		return false
	}
	if r.Path != "*" && clean(r.Path) != c.Path && !(ignoreCase && fold(clean(r.Path)) == fold(c.Path)) {
		return false
	}
	if r.Match != nil && !r.Match(c) {
		return false
	}
	if r.Times > 0 && a.fired >= r.Times {
		return false
	}
	a.matched++
	if n := a.matched - r.Skip; n <= 0 || r.Every > 1 && n%r.Every != 0 {
		return false
	}
	a.fired++
	return true
}

func (a *Action) zero() bool {
	return a.Wait == nil && a.Delay == 0 && a.Drop == DropNever && a.Reply == "" && a.Raw == nil &&
		!a.Endless && !a.Silent && a.Listing == nil && a.Content == nil && a.Cut == nil &&
		a.Final == "" && a.Late == nil && a.Then == nil
}
