package debian

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ReadPackage says what a .deb that is no archive's is: its control file, as
// deb-control(5) has it, tells name, version and what it depends on.
func ReadPackage(deb []byte) (Package, error) {
	files, err := ReadControl(bytes.NewReader(deb))
	if err != nil {
		return Package{}, err
	}
	control, ok := files["control"]
	if !ok {
		return Package{}, errors.New("not a Debian package: its control.tar has no control")
	}
	var found []Package
	if err := parseIndex(bytes.NewReader(control), func(p Package) { found = append(found, p) }); err != nil {
		return Package{}, err
	}
	if len(found) != 1 {
		return Package{}, fmt.Errorf("its control file has %d stanzas, want one", len(found))
	}
	p := found[0]
	switch {
	case !ValidName(p.Name):
		return Package{}, fmt.Errorf("its control file has %q for the name of a package", p.Name)
	case p.Arch != "amd64" && p.Arch != "all":
		return Package{}, fmt.Errorf("package %s is for %s: guests are amd64", p, p.Arch)
	}
	sum := sha256.Sum256(deb)
	p.Size, p.SHA256, p.path, p.Local = int64(len(deb)), hex.EncodeToString(sum[:]), "", true
	return p, nil
}

// own marks a package that is no archive's: another of the same version may be
// something else.
func (p Package) own() string { return p.SHA256[:min(12, len(p.SHA256))] }
