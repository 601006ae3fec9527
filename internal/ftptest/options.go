package ftptest

import (
	"crypto/tls"
	"time"
)

// Options is all that shapes a Server. The zero value is a vsftpd-like server on
// 127.0.0.1 with an empty tree. Server.Update changes it while running.
type Options struct {
	Profile                   // personality; zero: Vsftpd()
	Tree    *Tree             // what is served; nil: a new one
	Files   map[string]string // put into the tree at the start: path → bytes

	Listen   string            // "": "127.0.0.1:0"
	Users    map[string]string // name → password; nil: anybody gets in
	LoginDir string            // the folder a login starts in; "": the root

	// Caps on control connections, 0 for none.
	MaxSessions int
	MaxPerAddr  int
	CapReply    string        // "": "421 Too many connections from your address."
	CapAt       CapMoment     // when it is said
	SlotLinger  time.Duration // how long a closed session still counts

	IdleTimeout time.Duration // silence after which a session is closed with 421
	DataTimeout time.Duration // wait for a data connection; 0: 10 s
	ReplyDelay  time.Duration // before every reply: a round trip
	Rate        int64         // bytes/s of one data connection, 0 unlimited
	SendBuffer  int           // SO_SNDBUF of data connections: how far bytes sent run ahead of bytes read

	TLS          *tls.Config
	TLSMode      TLSMode
	RequireReuse bool // data connections must resume the control connection's TLS session

	Now      func() time.Time // decides which times LIST shows without a year; nil: time.Now
	LogLimit int              // commands and transfers kept in the logs; 0: a million
}

// CapMoment is when a server over its cap says so.
type CapMoment uint8

// The moments at which a cap is enforced.
const (
	CapAtConnect  CapMoment = iota // instead of the banner; the connection is closed
	CapAtUser                      // to USER; the connection is closed
	CapAtPass                      // to PASS; the connection is closed
	CapAtPassOpen                  // to PASS; the connection stays open
)

// TLSMode is how a server encrypts.
type TLSMode uint8

// The TLS modes.
const (
	NoTLS       TLSMode = iota
	ExplicitTLS         // AUTH TLS is offered
	RequireTLS          // AUTH TLS, PBSZ and PROT P must come before USER and transfers
	ImplicitTLS         // TLS from the first byte; data connections too
)

// Style is the look of LIST.
type Style uint8

// The listing styles.
const (
	Unix Style = iota // ls -l
	DOS2              // Windows, two-digit years
	DOS4              // Windows, four-digit years
)

// Profile is the personality of a server product: what it says and offers.
type Profile struct {
	Name     string
	Banner   string            // whole reply, "220 ready"; "": none is ever sent
	System   string            // the text of 215
	Features []string          // the lines of FEAT; nil: FEAT is unknown
	Replies  map[string]string // verb → reply instead of obeying: {"REST": "502 No."}; "OPTS UTF8" too

	Style      Style
	Zone       *time.Location // of the times in LIST; nil: UTC
	MDTMZone   *time.Location // of MDTM, when the server gets it wrong; nil: UTC
	TimeShift  time.Duration  // added to all times in listings and MDTM
	IgnoreCase bool
	MLSD       bool
	Facts      []string // of MLSD; nil: type size modify perm unix.mode
	Slink      bool     // MLSD and MLST show links as OS.unix=slink:TARGET; else MLSD as OS.unix=symlink and MLST as what they point to with the link's length, dangling ones not at all
	CdirPdir   bool     // MLSD shows the directory and its parent
	TotalLine  bool     // LIST begins with "total 0"
	DotEntries bool     // LIST shows . and ..
	SpaceDay   bool     // "Mar  7" instead of "Mar 07"
	NoGroup    bool     // LIST has no group column
	ModeSuffix string   // after the mode: "." (SELinux) or "+" (ACL)

	ListFlags  bool        // LIST -la path: leading options are taken as such
	ListGlobs  bool        // LIST a*: patterns are expanded
	Missing    ListFailure // LIST of what is not there
	Unreadable ListFailure // LIST of a directory with Entry.Refuse
	Empty      ListFailure // LIST of an empty directory
	FactsFail  ListFailure // MLSD of what is missing or unreadable
	EchoLinks  bool        // LIST of a file also shows the links to it in its directory
	NoPassword bool        // USER anonymous is enough

	SizeNeedsBinary bool   // SIZE is refused in ASCII mode
	TransferOK      string // reply after a transfer; "": "226 Transfer complete."
	ListOK          string // reply after a listing, %d for the number of entries; "": "226 Directory send OK."
	EarlyFinal      bool   // that reply comes when half the data is out

	NoCloseNotify bool // encrypted data ends without TLS's own goodbye

	PASVNoParens bool   // 227 without parentheses
	PASVHost     string // another address in 227
	PASVDead     bool   // nothing listens on the port told
	EPSVDead     bool
	PASVSilent   bool // the port told answers nobody, as behind a firewall
	EPSVSilent   bool
}

// ListFailure is how LIST and MLSD answer what they cannot show.
type ListFailure uint8

// The answers.
const (
	Refused      ListFailure = iota // 550 (an empty directory: an empty listing)
	Refused450                      // 450
	Failed450                       // an empty listing and then 450
	Refused550                      // 550, for empty directories too
	ShownEmpty                      // an empty listing and 226
	ShownSelf                       // the directory as its own child and 226
	Refused226                      // an empty listing and "226 … failed to open directory."
	ShownNothing                    // 226 at once, without 150 or a data connection
)

// Vsftpd is a server like vsftpd 3.
func Vsftpd() Profile {
	return Profile{
		Name:      "vsftpd",
		Banner:    "220 (vsFTPd 3.0.3)",
		System:    "UNIX Type: L8",
		Features:  []string{"UTF8", "EPRT", "EPSV", "MDTM", "PASV", "REST STREAM", "SIZE", "TVFS"},
		ListFlags: true, ListGlobs: true, EchoLinks: true,
		Missing: ShownEmpty, Unreadable: ShownSelf,
		TransferOK: "226 Transfer complete.",
	}
}

// ProFTPD is a server like proftpd 1.3.8.
func ProFTPD() Profile {
	return Profile{
		Name:   "proftpd",
		Banner: "220 ProFTPD Server (Debian) [127.0.0.1]",
		System: "UNIX Type: L8",
		Features: []string{"CLNT", "CSID", "EPRT", "EPSV", "HOST", "LANG C.UTF-8*", "MDTM",
			"MFF modify;UNIX.group;UNIX.mode;", "MFMT",
			"MLST modify*;perm*;size*;type*;unique*;UNIX.group*;UNIX.groupname*;UNIX.mode*;UNIX.owner*;UNIX.ownername*;",
			"RANG STREAM", "REST STREAM", "SIZE", "TVFS", "UTF8"},
		MLSD: true, CdirPdir: true,
		Facts:     []string{"modify", "perm", "size", "type", "unique", "unix.mode"},
		ListFlags: true, ListGlobs: true, SpaceDay: true,
		Missing: Failed450, Unreadable: ShownEmpty,
		SizeNeedsBinary: true,
		TransferOK:      "226 Transfer complete",
		ListOK:          "226 Transfer complete",
	}
}

// PureFTPd is a server like pure-ftpd 1.0.50.
func PureFTPd() Profile {
	return Profile{
		Name: "pure-ftpd",
		Banner: "220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n" +
			"220-You are user number 1 of 50 allowed.\r\n" +
			"220 You will be disconnected after 15 minutes of inactivity.",
		System: "UNIX Type: L8",
		Features: []string{"UTF8", "EPRT", "IDLE", "MDTM", "SIZE", "MFMT", "REST STREAM",
			"MLST type*;size*;sizd*;modify*;UNIX.mode*;UNIX.uid*;UNIX.gid*;unique*;",
			"MLSD", "PRET", "TVFS", "ESTA", "PASV", "EPSV", "ESTP"},
		Replies: map[string]string{"OPTS UTF8": "504 Unknown command"},
		MLSD:    true, CdirPdir: true, Slink: true,
		Facts:     []string{"type", "size", "modify", "unix.mode", "unique"},
		ListFlags: true, ListGlobs: true, DotEntries: true, SpaceDay: true,
		Missing: ShownEmpty, Unreadable: ShownEmpty,
		NoPassword: true,
		TransferOK: "226-File successfully transferred\r\n226 0.000 seconds (measured here), 196.09 Kbytes per second",
		ListOK:     "226-Options: -a -l \r\n226 %d matches total",
	}
}

// DATASUS is a Microsoft server like ftp.datasus.gov.br: DOS listings with
// two-digit years in the server's own time, no MLSD, names in any case.
func DATASUS() Profile {
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		panic("ftptest: time zones: " + err.Error()) // time/tzdata is linked in
	}
	return Profile{
		Name:       "datasus",
		Banner:     "220 Microsoft FTP Service",
		System:     "Windows_NT",
		Features:   []string{"SIZE", "MDTM", "REST STREAM"},
		Style:      DOS2,
		Zone:       zone,
		IgnoreCase: true,
		Replies: map[string]string{
			"OPTS UTF8": "501 option not supported",
			"MLST":      "500 'MLST': command not understood.",
			"MLSD":      "500 'MLSD': command not understood.",
		},
		TransferOK: "226 Transfer complete.",
	}
}
