// Package debian reads Debian's archive and its packages, without root and
// whatever the host is.
package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"pault.ag/go/debian/dependency"
)

// Package is what a package index says of one version of a package.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	SHA256  string `json:"sha256"`          // of the .deb, lower-case hex
	Size    int64  `json:"size"`            // of the .deb, bytes
	Local   bool   `json:"local,omitempty"` // it is no archive's: see ReadPackage

	path      string // below the archive's root
	needs     string // Pre-Depends and Depends
	offers    string // Provides
	security  bool   // which archive has it
	backports bool
}

// Clause is one entry of a Depends field: packages that satisfy it, in order
// of preference.
type Clause []dependency.Possibility

// FileName is what apt calls the downloaded package. One that is no archive's
// has its digest in it; of a source package it is the name of a tar file,
// however compressed.
func (p Package) FileName() string {
	name := p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_" + p.Arch
	if p.Arch == archSource {
		return name + ".tar"
	}
	if p.Local {
		name += "_" + p.own()
	}
	return name + ".deb"
}

func (p Package) String() string {
	if p.Local {
		return p.Name + "=" + p.Version + "@" + p.own()
	}
	return p.Name + "=" + p.Version
}

// Depends are the clauses of Pre-Depends and Depends.
func (p Package) Depends() ([]Clause, error) { return p.relation(p.needs) }

// Provides are the virtual packages that the package is.
func (p Package) Provides() ([]Clause, error) { return p.relation(p.offers) }

func (p Package) relation(field string) ([]Clause, error) {
	list, err := parseRelation(field)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", p, err)
	}
	return list, nil
}

// maxRelation bounds a relationship field, in bytes.
const maxRelation = 1 << 20

// parseRelation reads a relationship field, Debian Policy 7.1, as far as it
// concerns amd64.
func parseRelation(field string) ([]Clause, error) {
	field = strings.Trim(field, " ,")
	if field == "" {
		return nil, nil
	}
	if len(field) > maxRelation {
		return nil, fmt.Errorf("a relationship field of %d bytes", len(field))
	}
	parsed, err := dependency.Parse(field)
	if err != nil {
		return nil, fmt.Errorf("relationship field %.60q: %w", field, err)
	}
	amd64, err := dependency.ParseArch("amd64")
	if err != nil {
		return nil, err
	}
	var list []Clause
	for _, r := range parsed.Relations {
		var c Clause
		for _, alt := range r.Possibilities {
			if !alt.Substvar && safeName(alt.Name) && (alt.Architectures == nil || len(alt.Architectures.Architectures) == 0 || alt.Architectures.Matches(amd64)) {
				c = append(c, alt)
			}
		}
		if len(c) > 0 {
			list = append(list, c)
		}
	}
	return list, nil
}

// ValidName reports whether s could be the name of a package, Debian Policy
// 5.6.7.
func ValidName(s string) bool {
	return len(s) > 1 && safeName(s) && strings.ToLower(s) == s && !strings.ContainsAny(s, ":~")
}

// safeName allows what Debian Policy 5.6.7 and 5.6.12 do, so that a name never
// leaves the folder it is used in.
func safeName(s string) bool {
	if s == "" || s[0] == '.' || len(s) > 200 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("+-.:~", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// maxStanzaLine bounds a line of a package index, in bytes.
const maxStanzaLine = 1 << 20

// parseIndex reads the stanzas of a package index, Debian Policy 5.1. Of their
// fields it takes what Package has.
func parseIndex(r io.Reader, each func(Package)) error {
	var p Package
	var depends string
	some := false
	flush := func() error {
		if !some {
			return nil
		}
		if depends != "" {
			p.needs = strings.TrimLeft(p.needs+", "+depends, " ,")
		}
		if err := p.check(); err != nil {
			return err
		}
		each(p)
		p, depends, some = Package{}, "", false
		return nil
	}
	var last *string // that the next line may continue
	end := func() error {
		last = nil
		return flush()
	}
	field := func(name, value []byte) error {
		if name == nil {
			if last != nil {
				*last += " " + string(value)
			}
			return nil
		}
		some, last = true, nil
		text := func(to *string) { *to, last = string(value), to }
		switch string(name) {
		case "Package":
			p.Name = string(value)
		case "Version":
			p.Version = string(value)
		case "Architecture":
			p.Arch = string(value)
		case "Filename":
			p.path = string(value)
		case "SHA256":
			p.SHA256 = strings.ToLower(string(value))
		case "Pre-Depends":
			text(&p.needs)
		case "Depends":
			text(&depends)
		case "Provides":
			text(&p.offers)
		case "Size":
			n, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("package index: %s: size %q is no number of bytes", p.Name, value)
			}
			p.Size = n
		}
		return nil
	}
	return readStanzas(r, "package index: ", field, end)
}

// readStanzas reads the stanzas of a list of packages, Debian Policy 5.1: field
// gets each field, and without a name each line that continues the one before;
// end follows a stanza, and may follow none. What begins messages.
func readStanzas(r io.Reader, what string, field func(name, value []byte) error, end func() error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 1<<16), maxStanzaLine)
	for s.Scan() {
		line := s.Bytes()
		text := bytes.TrimSpace(line)
		var err error
		switch name, value, ok := bytes.Cut(line, []byte(":")); {
		case len(text) == 0:
			err = end()
		case line[0] == ' ' || line[0] == '\t':
			err = field(nil, text)
		case !ok:
			err = fmt.Errorf("%sline %.80q is no field", what, line)
		default:
			err = field(name, bytes.TrimSpace(value))
		}
		if err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("a line of more than %d bytes", maxStanzaLine)
		}
		return fmt.Errorf("%s%w", what, err)
	}
	return end()
}

// check refuses what could do harm where it is used.
func (p *Package) check() error {
	if !safeName(p.Name) || !safeName(p.Version) || !safeName(p.Arch) {
		return fmt.Errorf("package index: package %q, version %q, architecture %q: not all are proper names", p.Name, p.Version, p.Arch)
	}
	for part := range strings.SplitSeq(p.path, "/") {
		if part == ".." || strings.ContainsAny(part, "?#\\ \x00") {
			return fmt.Errorf("package index: %s: file %q leaves the archive", p.Name, p.path)
		}
	}
	return nil
}
