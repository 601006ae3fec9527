package content

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/ftppool/listing"
)

// metaKind names the form of a .meta record; another form gets another number.
const metaKind = "content/1"

// blockSize is how much of a file one checksum covers.
const blockSize = 1 << 20

// sumSize is the length of one checksum (CRC-32C, big endian).
const sumSize = 4

// meta is what a .meta record says about the .dat beside it. It may say less
// than what the .dat holds, never more.
type meta struct {
	Path    []byte // raw
	Version listing.Version
	Boot    string     // the boot in which Held was written
	Held    [][2]int64 // bytes that were written in that boot
	Durable [][2]int64 // bytes of them that were synced before this was written
	Whole   bool       // all of it is here, and the server's SIZE and MDTM agreed afterwards
	Sums    []byte     `json:",omitempty"` // a checksum a block, once whole and synced
	Fetched time.Time  // when the latest bytes came
	Used    time.Time
	Pinned  bool `json:",omitempty"`
}

func (m *meta) encode() ([]byte, error) { return json.Marshal(m) }

// decodeMeta returns what a payload says, when all of it makes sense.
func decodeMeta(payload []byte) (*meta, error) {
	m := new(meta)
	if err := json.Unmarshal(payload, m); err != nil {
		return nil, err
	}
	size := m.Version.Size
	switch {
	case len(m.Path) == 0:
		return nil, errors.New("it names no file")
	case size <= 0:
		return nil, fmt.Errorf("a size of %d", size)
	case m.Version.MTime.Min > m.Version.MTime.Max:
		return nil, errors.New("an impossible time")
	}
	held, err := toRanges(m.Held, size)
	if err != nil {
		return nil, err
	}
	durable, err := toRanges(m.Durable, size)
	if err != nil {
		return nil, err
	}
	for _, s := range durable.spans {
		if !held.contains(s) {
			return nil, errors.New("bytes that are synced but not held")
		}
	}
	if m.Whole && !held.contains(span{0, size}) {
		return nil, errors.New("whole, but with bytes missing")
	}
	if len(m.Sums) != 0 && int64(len(m.Sums)) != blocks(size)*sumSize {
		return nil, errors.New("a wrong number of checksums")
	}
	return m, nil
}

func blocks(size int64) int64 { return (size-1)/blockSize + 1 }

func toRanges(pairs [][2]int64, size int64) (ranges, error) {
	var r ranges
	last := int64(-1)
	for _, p := range pairs {
		if p[0] <= last || p[1] <= p[0] || p[1] > size {
			return ranges{}, fmt.Errorf("a range %d-%d out of order", p[0], p[1])
		}
		r.spans = append(r.spans, span{p[0], p[1]})
		last = p[1]
	}
	return r, nil
}

func fromRanges(r *ranges) [][2]int64 {
	pairs := make([][2]int64, 0, len(r.spans))
	for _, s := range r.spans {
		pairs = append(pairs, [2]int64{s.lo, s.hi})
	}
	return pairs
}

const (
	datExt  = ".dat"
	metaExt = ".meta"
)

// baseName is the name on disk, without extension, of a generation of path.
func baseName(path string, gen uint64) string {
	return pathHash(path) + "." + strconv.FormatUint(gen, 10)
}

func pathHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:16])
}

// parseBase is the inverse of baseName, as far as there is one.
func parseBase(base string) (hash string, gen uint64, ok bool) {
	hash, num, found := strings.Cut(base, ".")
	gen, err := strconv.ParseUint(num, 10, 64)
	ok = found && err == nil && len(hash) == 32 && strconv.FormatUint(gen, 10) == num
	return hash, gen, ok
}
