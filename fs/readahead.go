package fs

import (
	"os"
	"strconv"
	"strings"
)

// raiseReadAhead lets the kernel read ahead more than its 128 KiB in the mount
// of a device. The kernel lets root do so.
func raiseReadAhead(device string, bytes int64) error {
	return os.WriteFile("/sys/class/bdi/"+device+"/read_ahead_kb", []byte(strconv.FormatInt(bytes/1024, 10)), 0)
}

// minorOf is the second half of MAJOR:MINOR, which numbers a connection.
func minorOf(device string) string {
	_, minor, _ := strings.Cut(device, ":")
	return minor
}
