package listing

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
)

// Charset says how a server that does not speak UTF-8 spells its names. The
// zero value is "auto": UTF-8 where a name is valid in it, else windows-1252.
type Charset struct {
	enc  encoding.Encoding // nil: windows-1252, or UTF-8 when utf8
	utf8 bool              // the user named UTF-8
}

// NewCharset returns the charset with an IANA or WHATWG name such as
// "latin1", "cp850", "shift_jis" or "utf-8"; "" and "auto" are the zero value.
func NewCharset(label string) (Charset, error) {
	label = strings.TrimSpace(label)
	if label == "" || strings.EqualFold(label, "auto") {
		return Charset{}, nil
	}
	// IANA first: for WHATWG, latin1 is another name of windows-1252.
	enc, err := ianaindex.IANA.Encoding(label)
	if err != nil || enc == nil {
		enc, err = htmlindex.Get(label)
	}
	if err != nil || enc == nil {
		return Charset{}, fmt.Errorf("unknown charset %q", label)
	}
	if enc == unicode.UTF8 {
		return Charset{utf8: true}, nil
	}
	var printable []byte
	for c := byte(' '); c <= '~'; c++ {
		printable = append(printable, c)
	}
	if b, err := enc.NewDecoder().Bytes(printable); err != nil || !bytes.Equal(b, printable) {
		return Charset{}, fmt.Errorf("charset %q can't be used for FTP, which needs ASCII in it", label)
	}
	return Charset{enc: enc}, nil
}

// String returns the charset's name as IANA has it.
func (c Charset) String() string {
	switch {
	case c.utf8:
		return "UTF-8"
	case c.enc == nil:
		return "auto"
	}
	if name, err := ianaindex.IANA.Name(c.enc); err == nil {
		return name
	}
	return fmt.Sprint(c.enc)
}

// Decode returns the shown form of a raw name; it is always valid UTF-8. A
// name that is valid UTF-8 is shown as it is when the server says that it
// speaks UTF-8 (utf8Server), or when no charset or UTF-8 was chosen; any other
// is decoded. A name that is shown as it is shares the memory of raw. Different
// raw names can be shown alike, and bytes that the charset does not have are
// shown as U+FFFD: only the raw name says which file is meant.
func (c Charset) Decode(raw string, utf8Server bool) string {
	if ascii(raw) && c.asciiOnly() {
		return raw
	}
	if (utf8Server || c.enc == nil) && utf8.ValidString(raw) {
		return raw
	}
	if m, ok := c.encoding().(*charmap.Charmap); ok {
		b := make([]byte, 0, len(raw)+len(raw)/2)
		for i := range len(raw) {
			b = utf8.AppendRune(b, m.DecodeByte(raw[i]))
		}
		return string(b)
	}
	s, err := c.encoding().NewDecoder().String(raw)
	if err != nil || !utf8.ValidString(s) {
		return strings.ToValidUTF8(raw, "\uFFFD")
	}
	return s
}

// Encode returns the most likely raw spelling of a shown name that no listing
// has told yet. What has been listed is looked up there instead.
func (c Charset) Encode(name string, utf8Server bool) string {
	if utf8Server || c.utf8 || ascii(name) {
		return name
	}
	raw, err := c.encoding().NewEncoder().String(name)
	if err != nil || c.Decode(raw, utf8Server) != name {
		return name // the charset can't spell it; perhaps the server speaks UTF-8 after all
	}
	return raw
}

func (c Charset) encoding() encoding.Encoding {
	if c.enc == nil {
		return charmap.Windows1252
	}
	return c.enc
}

// asciiOnly reports whether ASCII bytes always stand for themselves. In
// charsets with escape sequences or shifts, such as ISO-2022-JP, they don't.
func (c Charset) asciiOnly() bool {
	if c.enc == nil {
		return true
	}
	_, ok := c.enc.(*charmap.Charmap)
	return ok
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
