// Package realftp runs Debian's vsftpd, proftpd and pure-ftpd for tests: each as a
// process of its own, on loopback, with its own configuration, read-only and
// anonymous, ended with the test.
//
//	s := realftp.Start(t, realftp.ProFTPD, realftp.Options{Root: dir, MaxPerIP: 3})
//	... use s.Addr() ...
//	s.Transfers()   // by the server's own log: file, bytes sent, complete or not
//	s.MaxSessions() // the most control connections that were open at once
//	s.Commands()    // what the client said
//	s.Overlaps()    // must be empty: two transfers on one session
//	s.Stop(); s.Start() // killed, and started again on the same port
//
// Clients talk to a small relay in this process, which passes the control
// connections on, counts them exactly and reads along; data connections go to the
// server itself. Where TLS hides the commands, Commands holds only those in
// the clear, and ServerLog has the server's words about the encryption.
//
// The servers are found in $MIRRORFS_FTPD_DIR, in .deps/ftpd of the repository, where
// scripts/test-deps.sh unpacks them, or on PATH. They need root.
package realftp
