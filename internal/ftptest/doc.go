// Package ftptest is an FTP server that runs inside a test, says what the test
// wants it to say, fails when the test wants it to fail, and remembers all it was
// asked: to FTP what net/http/httptest is to HTTP.
//
// A Server serves a Tree. A Profile gives it the personality of a product
// (DATASUS, Vsftpd, ProFTPD, PureFTPd), Options give it limits, and rules or a
// Script make it misbehave at exactly the moment a test needs:
//
//	tree := ftptest.NewTree()
//	tree.WriteFile("dados/LEIAME.TXT", []byte("olá"), mtime)
//	tree.Generate("dados/big.dbc", 1<<30, 7, mtime) // 1 GiB that takes no memory
//	tree.Symlink("current", "dados", mtime)
//
//	s := ftptest.New(t, ftptest.Options{Profile: ftptest.DATASUS(), Tree: tree})
//	s.Once("RETR", "dados/big.dbc", ftptest.CutAt(1<<20, ftptest.With426))
//	s.Every(3, "LIST", "*", ftptest.Reply(450, "Try again."))
//	gate := make(chan struct{})
//	s.On("MDTM", "*", ftptest.Wait(gate)) // answered when the test closes gate
//	s.Update(func(o *ftptest.Options) { o.MaxPerAddr = 2 })
//
//	... use s.Addr() ...
//
//	s.Count("LIST"); s.Commands(); s.Transfers(); s.BytesSent(); s.MaxSessions()
//	s.Changed()  // must be empty: commands that would have changed the server
//	s.Overlaps() // must be empty: two transfers on one session
//
// The truth to compare with is in the tree: Tree.Content(path) is an io.ReaderAt
// with a Size, Tree.ReadFile(path) the whole. Paths and names are raw bytes, as they
// go over the wire, from the root of the tree, with or without a leading "/".
//
// Tests need no sleeping: gates (Wait, StallAt) hold the server at a point, and
// Await, Armed.Await and AwaitIdle wait for what it has seen.
//
// Outside tests, NewServer makes the same server.
package ftptest
