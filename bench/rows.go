package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// workloads are all of them, in the order of the table: what is known already,
// what comes first over loopback, over slow connections, and from far away.
func workloads(bin string) []workload {
	m4, m8, m20 := mirrorfs(bin, 4), mirrorfs(bin, 8), mirrorfs(bin, 20)
	plain := rclone("rclone")
	best := rclone("rclone, best flags", "--no-modtime", "--attr-timeout", "1h", "--dir-cache-time", "1h",
		"--vfs-read-chunk-streams", "4", "--vfs-read-chunk-size", "16M")
	to := func(m mounter, bound float64, base string) []goal { return []goal{{m.name, bound, base}} }

	big := func(root string) error { return readFile(filepath.Join(root, bigFile)) }
	medium := func(root string) error { return readFile(filepath.Join(root, mediumFile)) }
	random := func(root string) error { return readRandom(filepath.Join(root, mediumFile), 20000) }
	tail := func(root string) error { return readTail(filepath.Join(root, bigFile), 64<<10) }
	first := func(root string) error { return readFirst(filepath.Join(root, deepFile())) }
	longList := func(root string) error { return exec.Command("ls", "-l", filepath.Join(root, manyDir)).Run() }
	spread, books := paths(spreadN, spreadFile), paths(bookN, bookFile)
	passthrough := "passthrough"

	return []workload{
		{name: "1 GiB read again, page cache warm", net: loopback, needsRoot: passthrough, goals: to(m4, 1.15, "native"), entries: []entry{
			again(m4, big, nil, big), native("", big, nil, big), again(plain, big, nil, big), again(best, big, nil, big)}},
		{name: "1 GiB from the disk cache, page cache dropped", net: loopback, needsRoot: "to drop the page cache", goals: to(m4, 1.15, "native"), entries: []entry{
			again(m4, big, dropPages, big), native(bigFile, big, dropPages, big), again(plain, big, dropPages, big), again(best, big, dropPages, big)}},
		{name: "20 000 random 4 KiB reads of a cached 256 MiB file", net: loopback, needsRoot: passthrough, goals: to(m4, 1.2, "native"), entries: []entry{
			again(m4, medium, nil, random), native("", medium, nil, random), again(plain, medium, nil, random), again(best, medium, nil, random)}},
		{name: "1 GiB read again without CAP_SYS_ADMIN", net: loopback, goals: to(unprivileged(m4), 5, "native"), entries: []entry{
			againAlone(m4, bigFile), native("", big, nil, big), againAlone(plain, bigFile)}},
		{name: "stat of 2 000 known files, 5 times", net: loopback, goals: to(m4, 1.2, "native"), entries: []entry{
			again(m4, stats(1), nil, stats(5)), native("", stats(1), nil, stats(5)), again(plain, stats(1), nil, stats(5)), again(best, stats(1), nil, stats(5))}},
		{name: "`ls -l` of 20 000 entries, again", net: loopback, goals: to(m4, 1.5, "native"), entries: []entry{
			again(m4, longList, nil, longList), native("", longList, nil, longList), again(plain, longList, nil, longList), again(best, longList, nil, longList)}},
		{name: "`ls -l` of 20 000 entries, first time", net: loopback, goals: to(m4, 3, "curl"), entries: []entry{
			cold(m4, longList), curl(manyDir + "/"), once(cold(plain, longList)), cold(best, longList)}},
		{name: "1 GiB cold", net: loopback, goals: to(m4, 0.7, "curl"), memory: &goal{m4.name, 64, ""}, entries: []entry{
			cold(m4, big), cold(m8, big), curl(bigFile), curlKept(bigFile), cold(plain, big), cold(best, big)}},
		{name: "a known file in a listing of 20 000", net: loopback, bytes: true,
			goals: []goal{{"in memory", 300, ""}, {"on disk", 300, ""}}, entries: []entry{
				perFile("in memory", bin, m4, longList, manyCount, false), perFile("on disk", bin, m4, longList, manyCount, true)}},

		{name: "256 MiB cold", net: capped, goals: to(m4, 0.28, "curl"), entries: []entry{
			cold(m4, medium), cold(m8, medium), curl(mediumFile), cold(plain, medium), cold(best, medium)}},

		{name: "256 MiB cold", net: distant, goals: to(m4, 0.4, "curl"), idle: true, entries: []entry{
			cold(m4, medium), cold(m8, medium), curl(mediumFile), cold(plain, medium), cold(best, medium)}},
		// rclone as it comes asks for every file's time, one after the other, which
		// takes 4 minutes, and most of one with its best flags: once is enough.
		{name: "`find -type f -size +0`, 111 directories, 2 000 files", net: distant, idle: true,
			goals: []goal{{m8.name, 0.15, "ftplib"}, {m4.name, 0.25, "ftplib"}}, entries: []entry{
				cold(m8, findFiles), cold(m4, findFiles), script("ftplib", "walk", treeDir), script("ftplib-threads-8", "walk", treeDir),
				once(cold(plain, findFiles)), once(cold(best, findFiles))}},
		{name: "20 small files in 20 directories, 20 threads", net: distant, idle: true,
			goals: []goal{{m8.name, 0.19, "ftplib"}, {m20.name, 0.10, "ftplib"}}, entries: []entry{
				cold(m8, readSet(spread)), cold(m20, readSet(spread)), script("ftplib", "get", spread...),
				script("ftplib-threads-8", "get", spread...), script("ftplib-threads-20", "get", spread...),
				script("aioftp", "get", spread...), cold(plain, readSet(spread)), cold(best, readSet(spread))}},
		{name: "13 Gutenberg books, 13 threads", net: distant, goals: to(m8, 0.15, "ftplib"), idle: true, entries: []entry{
			cold(m8, readSet(books)), script("ftplib", "get", books...), script("ftplib-threads-8", "get", books...),
			script("ftplib-threads-13", "get", books...), script("aioftp", "get", books...), cold(plain, readSet(books)), cold(best, readSet(books))}},
		{name: "last 64 KiB of a 1 GiB file, just mounted", net: distant, goals: to(m4, 1.2, ""), idle: true, entries: []entry{
			cold(m4, tail), cold(m8, tail), curl("-r", "-65536", bigFile), cold(plain, tail), cold(best, tail)}},
		{name: "first byte, 4 levels deep, among 43 000 unlisted entries", net: distant, goals: to(m4, 1.2, ""), idle: true, entries: []entry{
			cold(m4, first), cold(m8, first), curl("-r", "0-0", deepFile()), once(cold(plain, first)), cold(best, first)}},
	}
}

// findFiles walks the tree as users do who look for files.
func findFiles(root string) error {
	out, err := exec.Command("find", filepath.Join(root, treeDir), "-type", "f", "-size", "+0").Output()
	if n := strings.Count(string(out), "\n"); err == nil && n != treeFiles {
		err = fmt.Errorf("find saw %d files, want %d", n, treeFiles)
	}
	return err
}

// stats asks so many times for the attributes of 2 000 files.
func stats(times int) func(root string) error {
	return func(root string) error {
		var names []string
		for i := range treeFiles {
			names = append(names, filepath.Join(root, manyDir, fmt.Sprintf("RDSP%05d.dbc", i)))
		}
		return statAll(names, times)
	}
}

// readSet reads all files of the set, each by a thread of its own.
func readSet(set []string) func(root string) error {
	return func(root string) error {
		var names []string
		for _, p := range set {
			names = append(names, filepath.Join(root, p))
		}
		return readAll(names)
	}
}

func paths(n int, of func(int) string) []string {
	var p []string
	for i := range n {
		p = append(p, of(i))
	}
	return p
}
