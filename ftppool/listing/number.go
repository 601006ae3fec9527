package listing

// maxSize is the largest size that is believed: 1 EiB, more than any file has
// and small enough for sums not to overflow.
const maxSize = 1 << 60

// parseSize reads a size in bytes, in decimal whatever zeros it begins with;
// SizeUnknown when it is none, negative (servers that count in 32 bits) or
// beyond belief. With grouped, thousands may be set apart.
func parseSize(b []byte, grouped bool) int64 {
	var n int64
	digits := 0
	for i, c := range b {
		switch {
		case '0' <= c && c <= '9':
			digits++
			if d := int64(c - '0'); n <= (maxSize-d)/10 {
				n = n*10 + d
			} else {
				return SizeUnknown
			}
		case grouped && digits > 0 && i+3 < len(b) && (c == ',' || c == '.' || c == '\'' || c == 0xA0):
		default:
			return SizeUnknown
		}
	}
	if digits == 0 {
		return SizeUnknown
	}
	return n
}

// isNumber reports whether b is all digits.
func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// parseInt reads a number of least to most digits.
func parseInt(b []byte, least, most int) (int, bool) {
	if len(b) < least || len(b) > most {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
