// Package guid holds the 16-byte identifiers that ACPI tables and _DSM
// methods carry, in the byte order in which firmware stores them.
package guid

import (
	"encoding/hex"
	"fmt"
)

// GUID is an identifier as firmware stores it: the first three groups
// little-endian, the last two as written (ACPI 6.5 section 19.6.142 ToUUID,
// table 19.36; UEFI 2.10 appendix A).
type GUID [16]byte

// order maps the position of a byte in the text to its place in memory. It is
// its own inverse.
var order = [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}

// Parse reads the canonical text aabbccdd-eeff-gghh-iijj-kkllmmnnoopp, in
// either case.
func Parse(s string) (GUID, error) {
	var g GUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("GUID %q is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	raw, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		return g, fmt.Errorf("GUID %q has a character that is not a hexadecimal digit", s)
	}
	for i, at := range order {
		g[at] = raw[i]
	}
	return g, nil
}

// MustParse is Parse for constants; it panics if s is malformed.
func MustParse(s string) GUID {
	g, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return g
}

// String gives the canonical text in lower case.
func (g GUID) String() string {
	var raw [16]byte
	for i, at := range order {
		raw[i] = g[at]
	}
	h := hex.EncodeToString(raw[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
