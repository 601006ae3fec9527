package main

import (
	"errors"
	"fmt"
	"math"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// size is a flag of bytes: 512, 64K, 20GiB, 1.5T; "off" is unlimited.
type size int64

const unlimited = size(math.MaxInt64)

var units = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
	"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40, "pi": 1 << 50,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
}

func (s *size) Set(text string) error {
	if strings.EqualFold(text, "off") {
		*s = unlimited
		return nil
	}
	end := strings.LastIndexAny(text, "0123456789.") + 1
	n, err := strconv.ParseFloat(text[:end], 64)
	unit, ok := units[strings.ToLower(strings.TrimSpace(text[end:]))]
	if err != nil || !ok || n < 0 || strings.ContainsAny(text[:end], "xXeEpP_nN") || n*unit >= math.MaxInt64 {
		return errors.New("must be a size like 512M, 20G or off")
	}
	*s = size(n * unit)
	return nil
}

func (s *size) Type() string { return "SIZE" }

func (s *size) String() string {
	switch {
	case *s == unlimited:
		return "off"
	case *s < 0:
		return ""
	}
	return showBytes(int64(*s))
}

// showBytes writes a number of bytes in the largest unit that keeps it short.
func showBytes(n int64) string {
	if n < 1<<10 {
		return strconv.FormatInt(n, 10)
	}
	f, units := float64(n), "KMGTPE"
	for f /= 1 << 10; f >= 1<<10 && len(units) > 1; f /= 1 << 10 {
		units = units[1:]
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + units[:1]
}

// span is a flag of time: 90s, 1h30m, 2d, or a number of seconds.
type span time.Duration

func (d *span) Set(text string) error {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		*d = span(time.Duration(n) * time.Second)
		return nil
	}
	var days time.Duration
	rest := text
	if n, after, ok := strings.Cut(text, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return errSpan
		}
		days, rest = time.Duration(v)*24*time.Hour, after
	}
	if rest != "" {
		v, err := time.ParseDuration(rest)
		if err != nil || v < 0 || v > math.MaxInt64-days {
			return errSpan
		}
		days += v
	} else if days == 0 {
		return errSpan
	}
	*d = span(days)
	return nil
}

var errSpan = errors.New("must be a time like 30s, 5m, 1h or 2d")

func (d *span) Type() string { return "TIME" }
func (d *span) String() string {
	s := time.Duration(*d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// octal is a flag of permission bits.
type octal uint32

func (o *octal) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return errors.New("must be permission bits in octal, like 022")
	}
	*o = octal(n)
	return nil
}

func (o *octal) Type() string   { return "MASK" }
func (o *octal) String() string { return fmt.Sprintf("%03o", uint32(*o)) }

// id is a flag of a user or group, by number or name; set says it was given.
type id struct {
	n     uint32
	set   bool
	group bool
}

func (i *id) Set(text string) error {
	number := text
	if _, err := strconv.ParseUint(text, 10, 32); err != nil {
		if i.group {
			g, err := user.LookupGroup(text)
			if err != nil {
				return errors.New("there is no such group")
			}
			number = g.Gid
		} else {
			u, err := user.Lookup(text)
			if err != nil {
				return errors.New("there is no such user")
			}
			number = u.Uid
		}
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return errors.New("is out of range")
	}
	i.n, i.set = uint32(n), true
	return nil
}

func (i *id) Type() string { return "ID" }
func (i *id) String() string {
	if !i.set {
		return ""
	}
	return strconv.FormatUint(uint64(i.n), 10)
}
