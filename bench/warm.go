package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// warmings are the workloads of people who download first and work then: what
// their scripts fetch, fetched by mirrorfs warm. The scripts' times are from
// their start to their end, logins included. For mirrorfs they are so once with
// the mounting in them and once on a mirror that is mounted, as most days it is:
// then one session is logged in, the others are not.
func warmings(bin string) []workload {
	m8, m13, m20 := mirrorfs(bin, 8), mirrorfs(bin, 13), mirrorfs(bin, 20)
	spread, books := paths(spreadN, spreadFile), paths(bookN, bookFile)
	name := func(m mounter) string { return warmName(m, false) }
	return []workload{
		{name: "20 small files in 20 directories, by warm", net: distant, idle: true,
			goals: []goal{{name(m8), 0.2, "ftplib"}, {name(m20), 0.125, "ftplib"}}, entries: []entry{
				warm(bin, m8, false, spread), warm(bin, m8, true, spread), warm(bin, m20, false, spread), warm(bin, m20, true, spread),
				script("ftplib", "get", spread...), script("ftplib-threads-8", "get", spread...), script("ftplib-threads-20", "get", spread...)}},
		{name: "13 Gutenberg books, by warm", net: distant, idle: true,
			goals: []goal{{name(m8), 0.166, "ftplib"}, {name(m13), 0.166, "ftplib"}}, entries: []entry{
				warm(bin, m8, false, books), warm(bin, m8, true, books), warm(bin, m13, false, books), warm(bin, m13, true, books),
				script("ftplib", "get", books...), script("ftplib-threads-8", "get", books...), script("ftplib-threads-13", "get", books...)}},
	}
}

func warmName(m mounter, mounting bool) string {
	if mounting {
		return m.name + ", with mounting"
	}
	return m.name
}

// warm has a fresh mount fetch the files at paths. mounting says whether the
// time to mount is in the figure.
func warm(bin string, m mounter, mounting bool, paths []string) entry {
	return entry{name: warmName(m, mounting), mounts: !mounting, prepare: func(ctx context.Context, b *bench, s *server) (*attempt, error) {
		a := &attempt{}
		mountNow := func() (err error) {
			a.mount, err = m.mountFresh(ctx, b.work, s)
			return err
		}
		if !mounting {
			if err := mountNow(); err != nil {
				return nil, err
			}
		}
		a.run = func(ctx context.Context) (float64, error) {
			return timed(func() error {
				if mounting {
					if err := mountNow(); err != nil {
						return err
					}
				}
				words := []string{"warm"}
				for _, p := range paths {
					words = append(words, filepath.Join(a.mount.dir, p))
				}
				out, err := exec.CommandContext(ctx, bin, words...).CombinedOutput()
				if err == nil && !strings.Contains(string(out), fmt.Sprintf("OK %d ", len(paths))) {
					err = fmt.Errorf("not all %d came", len(paths))
				}
				if err != nil {
					return fmt.Errorf("mirrorfs warm: %w: %s", err, out)
				}
				return nil
			})
		}
		return a, nil
	}}
}
