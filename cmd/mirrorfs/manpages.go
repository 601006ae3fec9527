package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What the manual says that --help does not.

// manSection is a section of terms and what they mean, after words of its own.
type manSection struct {
	title string
	words string // as in --help
	facts [][2]string
}

func (r *roff) facts(s manSection) {
	r.section(s.title)
	if s.words != "" {
		r.paragraphs(s.words)
	}
	for _, f := range s.facts {
		r.item(bold(f[0]), f[1])
	}
}

var rootSections = []manSection{
	{title: "signals", facts: [][2]string{
		{"SIGINT, SIGTERM", "unmount and end. While programs use the mount it waits five seconds for them; then, or at a second signal, it takes the mount away regardless."},
		{"SIGHUP", "ask the server for each listing again when it is next used, and open the log file anew."},
	}},
	{title: "environment", facts: [][2]string{
		{passwordVariable, "the password, for a user that the URL names. The process takes it out of its own environment."},
		{"NETRC", "the file of logins, instead of ~/.netrc."},
		{"ALL_PROXY, NO_PROXY", "the proxy, when --proxy names none, and the hosts for which it is not used. Also in small letters."},
		{"XDG_CACHE_HOME, HOME", "where the cache lives, when --cache-dir does not tell."},
		{"NO_COLOR", "print without colours."},
		{notifyVariable, "where a service manager wants to be told that the mount answers (set by systemd for Type=notify)."},
	}},
	{title: "files", facts: [][2]string{
		{"~/.netrc", "logins: lines like \"machine HOST login USER password PASSWORD\"."},
		{"~/.cache/mirrorfs, /var/cache/mirrorfs", "the cache of a user, and of root. It may be deleted while nothing is mounted from it."},
		{"/etc/mirrorfs/NAME.conf, ~/.config/mirrorfs/NAME.conf", "settings of the services mirrorfs@NAME of systemd, of the machine and of a user: lines that set URL, DIR and OPTIONS."},
		{"/etc/fuse.conf", "must have the line user_allow_other for --allow-other to work for users who are not root."},
	}},
	{title: "extended attributes", words: "Files and directories of a mount tell about themselves to who asks by name (getfattr -n NAME PATH).", facts: [][2]string{
		{"user.mirrorfs.url", "the URL."},
		{"user.mirrorfs.state", "how much of a file is held: remote, partial with the share, or cached."},
		{"user.mirrorfs.version", "the size and time by which the file's version is known."},
		{"user.mirrorfs.fetched", "when it was fetched, or the directory listed."},
		{"user.mirrorfs.error", "what went wrong last, in words."},
	}},
	{title: "examples", words: `
DATASUS as a folder, until it is unmounted:

    mkdir -p ~/datasus
    mirrorfs ftp://ftp.datasus.gov.br/dissemin/publicos ~/datasus
    mirrorfs unmount ~/datasus

For all users of the machine, with a cache of its own size:

    mirrorfs --allow-other --cache-size 100G ftp://ftp.ibiblio.org/pub/docs/books/gutenberg /srv/gutenberg

With a login from ~/.netrc, encrypted, through a proxy:

    mirrorfs --proxy socks5h://gate:1080 ftpes://ftp.example.org/ mirror

As a service of systemd, which /etc/mirrorfs/datasus.conf tells what to mount:

    systemctl enable --now mirrorfs@datasus
`},
}

// helperPage is the manual of what mount(8) runs.
func helperPage(root *cobra.Command, date string) []byte {
	r := newPage("mount.fuse.mirrorfs", 8, date, root.Short)
	r.section("synopsis")
	r.usage("mount -t fuse.mirrorfs URL DIR [ -o OPTION,... ]")
	r.usage("URL DIR fuse.mirrorfs OPTION,... 0 0")
	r.section("description")
	r.paragraphs(`
mount(8) runs this for the file system type fuse.mirrorfs, on a command line and for lines of /etc/fstab. It mounts the mirror as mirrorfs(1) does, and returns when it answers. umount(8) ends it.

In fstab a space in a URL or path is written \040, and in URLs %20 will do as well. A comma in an option's value is written \054.`)
	r.section("options")
	r.paragraphs(`
Each option of mirrorfs(1), without its hyphens at the front and with _ or - between its words, and these. Among options that are given twice the last one counts.`)
	r.item(bold("setuid=")+italic("USER"), "mount as that user, with the user's ~/.netrc and cache. For root only; the user must own the folder, which is never so with x-systemd.automount.")
	r.item(bold("nonempty"), "the same as allow_non_empty.")
	r.item(strings.Join(bolds(slices.Sorted(maps.Keys(forKernel))), ", "), "are passed on to the kernel.")
	r.item(bold("x-")+italic("...")+", "+bold("_netdev")+", "+bold("nofail")+", "+bold("noauto")+", "+bold("user")+italic(" and so on"),
		"are for mount(8) and systemd, and mean what they always do. A mirror is ro, nosuid and nodev whatever is said.")
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		r.item(bold(name), "is refused: "+refused[name]+".")
	}
	r.paragraphs("Those of mirrorfs(1) in short, written as here:")
	root.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || groupFor(f) == "" || f.Name == optionFlag {
			return
		}
		value, text := flagParts(f)
		term := bold(strings.ReplaceAll(f.Name, "-", "_"))
		if value != "" {
			term += bold("=") + italic(value)
		}
		text, _, _ = strings.Cut(text, " (rclone")
		text, _, _ = strings.Cut(text, " (sshfs")
		r.item(term, text)
	})
	for _, s := range helperSections {
		r.facts(s)
	}
	r.section("see also")
	r.line(`\fBmirrorfs\fR(1), \fBmount\fR(8), \fBfstab\fR(5), \fBsystemd.automount\fR(5), \fBfusermount3\fR(1)`)
	return r.Bytes()
}

func bolds(words []string) []string {
	for i, w := range words {
		words[i] = bold(w)
	}
	return words
}

var helperSections = []manSection{
	{title: "exit status", words: "0 when the mirror is mounted. What else it may be is told in mirrorfs(1)."},
	{title: "examples", words: `
Mounted when it is first used, so that boot never waits for the server:

    ftp://ftp.datasus.gov.br/dissemin/publicos /srv/datasus fuse.mirrorfs noauto,x-systemd.automount,_netdev,allow_other,cache_size=50G 0 0

By a user, with "mount /home/maria/books", on a folder of hers:

    ftp://ftp.ibiblio.org/pub/docs/books/gutenberg /home/maria/books fuse.mirrorfs noauto,user 0 0

At boot, as that user, whose ~/.netrc has the password:

    ftpes://maria@ftp.example.org/ /home/maria/data fuse.mirrorfs _netdev,nofail,setuid=maria 0 0
`},
	{title: "notes", words: `
A password in a URL is seen by all in /etc/fstab, and in the command line of mount(8). Use password_file= or ~/.netrc.

With "user", whoever mounted it may unmount it with "mirrorfs unmount DIR" or "fusermount3 -u DIR".`},
}
