// Package debian reads Debian packages and drives apt's own client, without
// root and without touching the host's package state.
package debian

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Package is what a package index says of one version of a package.
type Package struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Arch     string   `json:"arch"`
	SHA256   string   `json:"sha256"` // of the .deb, lower-case hex
	Size     int64    `json:"size"`   // of the .deb, bytes
	Depends  []Clause `json:"-"`      // Pre-Depends and Depends
	Provides []string `json:"-"`
}

// Clause is one entry of a Depends field: names that satisfy it, in order of
// preference. Versions are left to apt.
type Clause []string

// FileName is what apt calls the downloaded package.
func (p Package) FileName() string {
	return p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") + "_" + p.Arch + ".deb"
}

func (p Package) String() string { return p.Name + "=" + p.Version }

// ParseIndex reads stanzas as apt-cache show prints them.
// Debian Policy 5.1 (syntax of control files), 7.1 (relationship fields).
func ParseIndex(r io.Reader) ([]Package, error) {
	var list []Package
	fields := map[string]string{}
	last := ""
	flush := func() error {
		if len(fields) == 0 {
			return nil
		}
		p, err := packageOf(fields)
		if err != nil {
			return err
		}
		list = append(list, p)
		fields, last = map[string]string{}, ""
		return nil
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		if strings.TrimSpace(line) == "" {
			if err := flush(); err != nil {
				return nil, err
			}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("package index: line %q is no field", line)
		}
		last = strings.ToLower(name)
		fields[last] = strings.TrimSpace(value)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("package index: %w", err)
	}
	return list, flush()
}

func packageOf(f map[string]string) (Package, error) {
	p := Package{Name: f["package"], Version: f["version"], Arch: f["architecture"], SHA256: strings.ToLower(f["sha256"])}
	if !safeName(p.Name) || !safeName(p.Version) || !safeName(p.Arch) {
		return p, fmt.Errorf("package index: package %q, version %q, architecture %q: not all are proper names", p.Name, p.Version, p.Arch)
	}
	if _, err := fmt.Sscanf(f["size"], "%d", &p.Size); err != nil && f["size"] != "" {
		return p, fmt.Errorf("package index: %s: size %q is no number", p.Name, f["size"])
	}
	p.Depends = append(ParseDepends(f["pre-depends"]), ParseDepends(f["depends"])...)
	for _, c := range ParseDepends(f["provides"]) {
		p.Provides = append(p.Provides, c...)
	}
	return p, nil
}

// safeName allows what Debian Policy 5.6.7 and 5.6.12 do, so that a name never
// leaves the folder it is used in.
func safeName(s string) bool {
	if s == "" || s[0] == '.' {
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

// ParseDepends splits a relationship field and drops versions, architectures
// and build profiles.
func ParseDepends(field string) []Clause {
	var list []Clause
	for _, part := range strings.Split(field, ",") {
		var c Clause
		for _, alt := range strings.Split(part, "|") {
			name := strings.TrimSpace(alt)
			if i := strings.IndexAny(name, " (:[<"); i >= 0 {
				name = name[:i]
			}
			if safeName(name) {
				c = append(c, name)
			}
		}
		if len(c) > 0 {
			list = append(list, c)
		}
	}
	return list
}
