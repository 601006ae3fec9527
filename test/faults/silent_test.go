package faults

import (
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// A server that promises MLST and never answers it (uftpd 2.13 did) costs
// sessions, never truth: what listings tell is served, and files read exactly.
func TestSilentMLST(t *testing.T) {
	s := ftptest.New(t, ftptest.Options{Profile: ftptest.ProFTPD()})
	s.Tree().Generate("d/f", 3*mib, 1, epoch)
	s.Tree().Generate("d/sub/g", 100, 2, epoch)
	s.On("MLST", "*", ftptest.Action{Silent: true})
	m := mount(t, s)
	if f, err := m.lookup("d/f"); err != nil || f.Entry.Size != 3*mib {
		t.Errorf("%+v, %v", f, err)
	}
	for range 2 {
		m.exact("d/f", s.Tree().Content("d/f"))
		m.exact("d/sub/g", s.Tree().Content("d/sub/g"))
	}
}
