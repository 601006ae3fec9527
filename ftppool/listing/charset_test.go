package listing

import (
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func charset(t testing.TB, label string) Charset {
	t.Helper()
	c, err := NewCharset(label)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecodeAndEncode(t *testing.T) {
	tests := []struct {
		label      string
		utf8Server bool
		raw, name  string
	}{
		{"", false, "plain", "plain"},
		{"", false, "caf\xe9", "café"},
		{"", false, "caf\xc3\xa9", "café"},
		{"", false, "\x93q\x94 \x80", "“q” €"},
		{"", true, "caf\xc3\xa9", "café"},
		{"", true, "caf\xe9", "café"}, // a server that promised too much
		{"auto", false, "caf\xe9", "café"},
		{"utf-8", false, "caf\xc3\xa9", "café"},
		{"UTF8", false, "caf\xe9", "café"},
		{"latin1", false, "caf\xe9", "café"},
		{"latin1", false, "\x93", "\u0093"},
		{"ISO-8859-1", false, "caf\xc3\xa9", "cafÃ©"}, // the user knows better
		{"ISO-8859-1", true, "caf\xc3\xa9", "café"},   // the server knows better
		{"iso-8859-15", false, "\xa4", "€"},
		{"cp850", false, "caf\x82", "café"},
		{"IBM437", false, "caf\x82", "café"},
		{"koi8-r", false, "\xd0\xd2\xc9\xd7\xc5\xd4", "привет"},
		{"shift_jis", false, "\x83\x65\x83\x58\x83\x67", "テスト"},
		{"euc-kr", false, "\xbf\xf9", "월"},
		{"gbk", false, "\xc4\xe3\xba\xc3", "你好"},
		{"iso-2022-jp", false, "\x1b$B%F%9%H\x1b(B", "テスト"},
	}
	for _, tt := range tests {
		if got := charset(t, tt.label).Decode(tt.raw, tt.utf8Server); got != tt.name {
			t.Errorf("%q, server UTF-8 %v: %q is shown as %q, want %q", tt.label, tt.utf8Server, tt.raw, got, tt.name)
		}
	}
	for _, tt := range []struct {
		label      string
		utf8Server bool
		name, raw  string
	}{
		{"", false, "plain", "plain"},
		{"", false, "café", "caf\xe9"},
		{"", true, "café", "café"},
		{"", false, "привет", "привет"}, // not in windows-1252
		{"", false, "cafÃ©", "cafÃ©"},   // in windows-1252 it would be shown as café
		{"utf-8", false, "café", "café"},
		{"latin1", false, "café", "caf\xe9"},
		{"latin1", true, "café", "café"},
		{"latin1", false, "€", "€"},
		{"cp850", false, "café", "caf\x82"},
		{"shift_jis", false, "テスト", "\x83\x65\x83\x58\x83\x67"},
	} {
		if got := charset(t, tt.label).Encode(tt.name, tt.utf8Server); got != tt.raw {
			t.Errorf("%q, server UTF-8 %v: %q is spelt %q, want %q", tt.label, tt.utf8Server, tt.name, got, tt.raw)
		}
	}
}

func TestCharsetNames(t *testing.T) {
	for _, label := range []string{"nonsense", "utf-16", "utf-16le", "ibm037", "replacement", "cp037"} {
		if c, err := NewCharset(label); err == nil {
			t.Errorf("%q is taken as %v", label, c)
		}
	}
	for label, want := range map[string]string{"": "auto", " Auto ": "auto", "utf8": "UTF-8", "latin1": "ISO_8859-1:1987", "cp1252": "windows-1252", "sjis": "Shift_JIS"} {
		if got := charset(t, label).String(); got != want {
			t.Errorf("%q is %q, want %q", label, got, want)
		}
	}
}

// Whatever the bytes, the shown name is UTF-8; and the spelling guessed from a
// shown name is shown as that name.
func TestCharsetProperties(t *testing.T) {
	labels := []string{"", "utf-8", "latin1", "cp850", "koi8-r", "shift_jis", "euc-kr", "gb18030", "big5", "iso-2022-jp"}
	rapid.Check(t, func(t *rapid.T) {
		c, err := NewCharset(rapid.SampledFrom(labels).Draw(t, "charset"))
		if err != nil {
			t.Fatal(err)
		}
		utf8Server := rapid.Bool().Draw(t, "server UTF-8")
		raw := string(rapid.SliceOf(rapid.Byte()).Draw(t, "raw"))
		name := c.Decode(raw, utf8Server)
		if !utf8.ValidString(name) {
			t.Fatalf("%q is shown as %q", raw, name)
		}
		name = rapid.String().Draw(t, "name")
		if guess := c.Encode(name, utf8Server); guess != name && c.Decode(guess, utf8Server) != name {
			t.Fatalf("%q is spelt %q, which is shown as %q", name, guess, c.Decode(guess, utf8Server))
		}
	})
}
