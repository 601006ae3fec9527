package main

import (
	"time"

	"github.com/mirrorfs/mirrorfs/fs"
	"github.com/spf13/pflag"
)

// settings are what the flags of a mount say, before any of it is judged.
type settings struct {
	// the server
	connections   int
	timeout       span
	retryFor      span
	bwlimit       size
	passwordFile  string
	charset       string
	timezone      string
	ignoreCase    bool
	tlsCA         string
	tlsSkipVerify bool
	offline       bool
	proxy         string

	// the cache
	cacheDir       string
	cacheSize      size
	cacheMinFree   size
	dirCacheTime   span
	metadataMemory size
	wholeFileBelow size
	listAhead      int

	// the files
	uid, gid      id
	umask         octal
	allowOther    bool
	allowNonEmpty bool
	noFetchFor    []string

	// the process
	foreground bool
	verbose    int
	logFile    string
	logFormat  string
	metrics    string

	// from -o and from mount(8)
	kernel []string // options for the kernel: noexec, context=...
	setuid string
	fake   bool
	sloppy bool
}

// unset marks a size whose default is found out when it is needed.
const unset = size(-1)

// The groups of flags in --help.
const (
	groupServer  = "The server"
	groupCache   = "The cache"
	groupFiles   = "The files"
	groupProcess = "The process"
)

var groups = []string{groupServer, groupCache, groupFiles, groupProcess}

// optionFlag is -o, whose values may hold anything.
const optionFlag = "option"

// groupOf is the annotation of a flag that holds its group.
const groupOf = "group"

// declareSome adds those flags of a mount to a command's that it shares.
func (s *settings) declareSome(flags *pflag.FlagSet, names ...string) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.declare(all)
	for _, name := range names {
		flags.AddFlag(all.Lookup(name))
	}
}

// declare adds the flags to a command's.
func (s *settings) declare(flags *pflag.FlagSet) {
	s.connections = 4
	s.timeout = span(30 * time.Second)
	s.retryFor = span(5 * time.Minute)
	s.cacheSize = unset
	s.cacheMinFree = 1 << 30
	s.dirCacheTime = span(time.Hour)
	s.metadataMemory = 64 << 20
	s.wholeFileBelow = 64 << 20
	s.listAhead = -1
	s.gid.group = true
	s.umask = 0o022

	group := func(name string, add func(*pflag.FlagSet)) {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.SortFlags = false
		add(f)
		f.VisitAll(func(fl *pflag.Flag) {
			fl.Annotations = map[string][]string{groupOf: {name}}
			flags.AddFlag(fl)
		})
	}
	group(groupServer, func(f *pflag.FlagSet) {
		f.IntVar(&s.connections, "connections", s.connections, "how many sessions with the server there may be at once (rclone: --transfers and --checkers)")
		f.Var(&s.timeout, "timeout", "how long a session may stay silent, and any look-up or listing take (rclone: --timeout, --contimeout)")
		f.Var(&s.retryFor, "retry-for", "how long the read of a known file keeps trying when the server fails (rclone: --low-level-retries; sshfs: reconnect)")
		f.Var(&s.bwlimit, "bwlimit", "bytes a second that all sessions together may take, 0 for no limit (rclone: --bwlimit)")
		f.StringVar(&s.passwordFile, "password-file", "", "`file` whose first line is the password; else MIRRORFS_PASSWORD, else ~/.netrc (sshfs: password_stdin)")
		f.StringVar(&s.charset, "charset", "", "`encoding` of names that are not UTF-8 (default windows-1252; rclone: --ftp-encoding; sshfs: from_code)")
		f.StringVar(&s.timezone, "timezone", "", "`zone` of the times the server lists, like America/Sao_Paulo or -03:00 (default: found out)")
		f.BoolVar(&s.ignoreCase, "ignore-case", false, "names are the same in any case (default: what the server says; rclone: --vfs-case-insensitive)")
		f.StringVar(&s.tlsCA, "tls-ca", "", "`file` of certificates to trust besides the system's (rclone: --ca-cert)")
		f.BoolVar(&s.tlsSkipVerify, "tls-skip-verify", false, "take any certificate: encrypted, but not safe from impostors (rclone: --no-check-certificate)")
		f.StringVar(&s.proxy, "proxy", "", "`URL` of the proxy for all connections: socks5h://[USER:PASSWORD@]HOST:PORT or http://..., \"none\" for none (default: ALL_PROXY, unless NO_PROXY names the server; rclone: --ftp-socks-proxy)")
		f.BoolVar(&s.offline, "offline", false, "never use the network: serve what is in the cache")
	})
	group(groupCache, func(f *pflag.FlagSet) {
		f.StringVar(&s.cacheDir, "cache-dir", "", "`folder` where the cache lives (default $XDG_CACHE_HOME/mirrorfs or ~/.cache/mirrorfs; /var/cache/mirrorfs for root; rclone: --cache-dir)")
		f.Var(&s.cacheSize, "cache-size", "most bytes of file content kept on disk for this mirror (default 20G or a tenth of the free space; rclone: --vfs-cache-max-size)")
		f.Var(&s.cacheMinFree, "cache-min-free", "bytes to leave free on that disk (rclone: --vfs-cache-min-free-space)")
		f.Var(&s.dirCacheTime, "dir-cache-time", "how long a directory's listing is taken as fresh (rclone: the same; sshfs: dcache_timeout)")
		f.Var(&s.metadataMemory, "metadata-memory", "bytes of listings kept in memory, more are on disk (sshfs: dcache_max_size)")
		f.Var(&s.wholeFileBelow, "whole-file-below", "files smaller than this are fetched whole once they are read on; larger ones as far as they are read (rclone: --vfs-read-ahead)")
		f.IntVar(&s.listAhead, "list-ahead", s.listAhead, "directories listed ahead at once when a tree is walked, 0 for none (default: --connections)")
	})
	group(groupFiles, func(f *pflag.FlagSet) {
		f.Var(&s.uid, "uid", "owner of the files, by name or number (default: who mounts)")
		f.Var(&s.gid, "gid", "group of the files (default: the group of who mounts)")
		f.Var(&s.umask, "umask", "permission bits to take away, in octal (rclone, sshfs: the same)")
		f.BoolVar(&s.allowOther, "allow-other", false, "let other users read, as the permissions say (rclone, sshfs: the same)")
		f.BoolVar(&s.allowNonEmpty, "allow-non-empty", false, "mount over a DIR that holds files; they are hidden meanwhile (rclone: the same; sshfs: nonempty)")
		f.StringSliceVar(&s.noFetchFor, "no-fetch-for", fs.DefaultNoFetchFor(), "`programs`, by name, that are shown only what is held already, since they read every folder they find")
	})
	group(groupProcess, func(f *pflag.FlagSet) {
		f.BoolVarP(&s.foreground, "foreground", "f", false, "stay in the foreground (rclone: without --daemon)")
		f.CountVarP(&s.verbose, "verbose", "v", "log more")
		f.StringVar(&s.logFile, "log-file", "", "append the log to this `file` (default: the journal or syslog, stderr with -f; rclone: the same)")
		f.StringVar(&s.logFormat, "log-format", "text", "`form` of the log: text or json")
		f.StringVar(&s.metrics, "metrics", "", "serve Prometheus metrics at this port of loopback, or at `HOST:PORT` (default: not; rclone: --metrics-addr)")
		f.VarP(&mountOptions{s, flags}, optionFlag, "o", "options as mount(8) has them: any of these flags with _ or -, and the standard ones")
	})
	flags.BoolVar(&s.fake, "fake", false, "check everything, mount nothing")
	flags.BoolVar(&s.sloppy, "sloppy", false, "pass over unknown mount options")
	for _, name := range []string{"fake", "sloppy"} {
		flags.Lookup(name).Hidden = true
	}
}
