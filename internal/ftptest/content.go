package ftptest

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Content is the bytes of one version of a file. It never changes: a file that
// changes gets another Content.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Bytes is content held in memory. The slice must not be changed afterwards.
func Bytes(b []byte) Content { return bytes.NewReader(b) }

// Generated is content of any size that takes no memory: every eight bytes are a
// mix of seed and offset, so no two places of a file, and no two seeds, look
// alike, and a byte at the wrong offset is always noticed.
func Generated(size int64, seed uint64) Content {
	return generated{size: size, seed: mix(seed ^ 0x9e3779b97f4a7c15)}
}

type generated struct {
	size int64
	seed uint64
}

func (g generated) Size() int64 { return g.size }

func (g generated) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if off >= g.size {
		return 0, io.EOF
	}
	var err error
	if rest := g.size - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	n := len(p)
	var word [8]byte
	i := uint64(off) / 8
	if skip := int(off % 8); skip > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(g.seed+i))
		p = p[copy(p, word[skip:]):]
		i++
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, mix(g.seed+i))
		p = p[8:]
		i++
	}
	if len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], mix(g.seed+i))
		copy(p, word[:])
	}
	return n, err
}

// mix spreads consecutive numbers over all 64 bits.
func mix(x uint64) uint64 {
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 29
	x *= 0x94d049bb133111eb
	return x ^ x>>32
}
