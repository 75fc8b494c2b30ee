package main

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// control is the package's description (Debian policy, 5.3).
func control(version, maintainer, arch string, files []file) string {
	size := 0
	for _, f := range files {
		size += (len(f.data) + 1023) / 1024
	}
	return fmt.Sprintf(`Package: nvlab
Version: %s
Architecture: %s
Maintainer: %s
Installed-Size: %d
Suggests: gdb
Section: devel
Priority: optional
Description: test lab for persistent memory
 Runs scenarios in the Starlark language on virtual machines with virtual
 NVDIMMs: a stock kernel's own driver and ndctl work on them, and nvlab judges
 answers and bytes, also those that a power failure leaves.
 .
 It needs neither root nor KVM nor QEMU. Guests are made of Debian's packages,
 which it fetches and verifies itself.
`, version, arch, maintainer, size)
}

// maintainers are those that Debian takes: a name and an address (Debian policy,
// 5.6.2).
var maintainers = regexp.MustCompile(`^[^\s<>@][^<>\n\r]* <[^\s<>@]+@[^\s<>@]+>$`)

// maintainer is who answers for the packages: as given, or as Debian's own tools take
// it from the environment (dch(1)).
func maintainer(given string) (string, error) {
	name, address := os.Getenv("DEBFULLNAME"), os.Getenv("DEBEMAIL")
	if given == "" && name != "" && address != "" {
		given = fmt.Sprintf("%s <%s>", name, address)
	}
	if !maintainers.MatchString(given) || !utf8.ValidString(given) {
		return "", fmt.Errorf("-maintainer %q: who answers for the packages? want \"NAME <ADDRESS>\", or the environment's DEBFULLNAME and DEBEMAIL", given)
	}
	return given, nil
}

// installed is where Debian has the files.
func installed(files []file) []file { return under("usr", files) }

// deb is a package: an ar archive of its format's version, what dpkg is to know,
// and the files (deb(5)).
func deb(control string, files []file, at time.Time) ([]byte, error) {
	var sums strings.Builder
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b file) int { return cmp.Compare(a.name, b.name) }) {
		fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(f.data), f.name)
	}
	meta, err := tarGz([]file{{"control", []byte(control), false}, {"md5sums", []byte(sums.String()), false}}, at)
	if err != nil {
		return nil, err
	}
	data, err := tarGz(files, at)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []file{{name: "debian-binary", data: []byte("2.0\n")}, {name: "control.tar.gz", data: meta}, {name: "data.tar.gz", data: data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.name, at.Unix(), 0, 0, 0o100644, len(m.data))
		b.Write(m.data)
		if len(m.data)%2 != 0 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes(), nil
}
