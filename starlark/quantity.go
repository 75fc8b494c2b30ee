package nvstar

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are binary, as QEMU's are.
var sizeUnits = map[string]uint{"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}

const sizeRule = `want an int of bytes or a string such as "64MiB", "128K" or "4G"`

// ParseSize reads a size such as "64MiB", "128K" or "4G" in bytes.
func ParseSize(text string) (uint64, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	unit := text[digits:]
	shift, ok := sizeUnits[unit]
	if digits == 0 || !ok {
		if near := nearestSize(text); near != "" {
			return 0, fmt.Errorf("%q is not a size: %s; the nearest is %q", text, sizeRule, near)
		}
		return 0, fmt.Errorf("%q is not a size: %s", text, sizeRule)
	}
	n, err := strconv.ParseUint(text[:digits], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is too large for a size: at most 2^63-1 bytes", text)
	}
	return n << shift, nil
}

// nearestSize is how a size such as "64 MB", "1.5g" or "64mib" is written, or
// "".
func nearestSize(text string) string {
	s := strings.ReplaceAll(strings.TrimSpace(text), " ", "")
	number := s[:len(s)-len(strings.TrimLeft(s, "0123456789."))]
	value, err := strconv.ParseFloat(number, 64)
	unit := strings.ToUpper(s[len(number):])
	if err != nil || unit != "" && (!strings.Contains("KMGT", unit[:1]) || unit[1:] != "" && unit[1:] != "B" && unit[1:] != "IB") {
		return ""
	}
	letters := " KMGT"
	at := 0
	if unit != "" {
		at = strings.Index(letters, unit[:1])
	}
	for value != math.Trunc(value) && at > 0 {
		value, at = value*1024, at-1
	}
	if value != math.Trunc(value) || value > math.MaxInt64 {
		return ""
	}
	near := strconv.FormatInt(int64(value), 10)
	if at > 0 {
		near += letters[at:at+1] + "iB"
	}
	return near
}

// FormatSize writes a size as ParseSize reads it, in the largest unit that
// divides it.
func FormatSize(n uint64) string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if shift := sizeUnits[unit]; n != 0 && n%(1<<shift) == 0 {
			return strconv.FormatUint(n>>shift, 10) + unit
		}
	}
	return strconv.FormatUint(n, 10)
}

// sizeOrBytes is a size for a sentence, which has a unit in any case.
func sizeOrBytes(n uint64) string {
	if n%1024 != 0 {
		return strconv.FormatUint(n, 10) + " bytes"
	}
	return FormatSize(n)
}

// maxDuration is a year. Clocks count nanoseconds from the first power-on, and
// what is added to them must not wrap.
const maxDuration = 365 * 24 * time.Hour

// parseDuration reads a duration such as "250ms", "30s" or "1m30s".
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return 0, fmt.Errorf("%q is not a duration: it lacks a unit, as in %q", text, text+"s")
		}
		return 0, fmt.Errorf(`%q is not a duration: want a string such as "250ms", "30s" or "1m30s"`, text)
	case d > maxDuration:
		return 0, fmt.Errorf("%q is too long: a duration is at most %q", text, "8760h")
	case d < 0:
		return 0, fmt.Errorf("%q is less than nothing: a duration is at least \"0s\"", text)
	}
	return d, nil
}
