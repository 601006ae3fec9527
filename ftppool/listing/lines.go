package listing

import (
	"bufio"
	"fmt"
	"io"
)

// maxLine is the longest line that is read; the rest of a longer one is
// dropped. Names have at most 255 bytes anywhere, a link's target 4 096.
const maxLine = 128 << 10

// lineReader cuts an answer into lines, in bounded memory.
type lineReader struct {
	r     *bufio.Reader
	spill []byte // a line that did not fit into the reader's buffer
	cut   bool   // the last line had no line end
	crlf  int    // lines that ended in CR LF
	lf    int    // lines that ended in LF alone
	bare  bool   // the last line did so
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(&bounded{r, maxInput}, 16<<10)}
}

// bounded fails after so many bytes.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxInput)
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// next returns the next line without its line end, which is LF or CR LF. The
// bytes are valid until the next call. Of a line that is too long it returns
// the beginning, and true. After the last line it returns io.EOF.
func (l *lineReader) next() ([]byte, bool, error) {
	text, err := l.r.ReadSlice('\n')
	long := false
	if err == bufio.ErrBufferFull {
		l.spill = append(l.spill[:0], text...)
		for err == bufio.ErrBufferFull {
			text, err = l.r.ReadSlice('\n')
			room := max(0, maxLine+2-len(l.spill))
			long = long || len(text) > room
			l.spill = append(l.spill, text[:min(room, len(text))]...)
		}
		text = l.spill
	}
	if err == io.EOF {
		if len(text) == 0 {
			return nil, false, io.EOF
		}
		l.cut = true
		return text, long || len(text) > maxLine, nil
	}
	if err != nil {
		return nil, false, err
	}
	l.bare = true
	l.lf++
	if !long {
		text = text[:len(text)-1]
		if n := len(text); n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
			l.crlf++
			l.lf--
			l.bare = false
		}
	}
	return text, long || len(text) > maxLine, nil
}
