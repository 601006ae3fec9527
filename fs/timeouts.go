package fs

import "time"

// attrTimeout is for how long the kernel may keep the attributes of an inode.
// They don't change for the life of a file's inode; those of a directory come
// with every look-up of its name.
const attrTimeout = 24 * time.Hour

// staleTimeout is for how long a name from a listing that could not be renewed
// is believed: the Mirror is asked soon again, but not for every system call.
const staleTimeout = time.Second

// entryTimeout is for how long the kernel may believe a name, or the absence
// of one: what is left of its listing's freshness.
func entryTimeout(expires time.Time, stale bool) time.Duration {
	left := max(time.Until(expires), 0)
	if stale {
		return max(left, staleTimeout)
	}
	return left
}
