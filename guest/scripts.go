package guest

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
)

// Maintainer scripts are not run: they may do anything, to a system that is
// not there. Of what they do, programs and libraries cannot be found without
// two things: the alternatives, and the linker's folders.

// linkAlternatives makes the links of update-alternatives for what packages
// provide, the highest priority first.
func (b *builder) linkAlternatives(t *rootfs.Tree, packages []debian.Package) error {
	var all []debian.Alternative
	for _, p := range packages {
		deb, err := os.Open(filepath.Join(b.store.downloads(), p.FileName()))
		if err != nil {
			return err
		}
		control, err := debian.ReadControl(deb)
		deb.Close()
		if err != nil {
			return fmt.Errorf("package %s: %w", p, err)
		}
		all = append(all, debian.Alternatives(control["postinst"])...)
	}
	slices.SortStableFunc(all, func(a, b debian.Alternative) int { return cmp.Compare(b.Priority, a.Priority) })
	for _, a := range all {
		if t.Resolve(a.Path) == "" || t.Get(a.Link) != nil {
			continue
		}
		through := "/etc/alternatives/" + a.Name
		if err := t.AddLink(through, a.Path); err != nil {
			return err
		}
		if err := t.AddLink(a.Link, through); err != nil {
			return err
		}
	}
	return nil
}

// linkLibraries makes libraries in the folders of /etc/ld.so.conf.d visible to
// a linker that has no cache, since ldconfig is not run.
func linkLibraries(t *rootfs.Tree) error {
	var dirs []string
	for _, p := range t.Paths() {
		if path.Dir(p) != "etc/ld.so.conf.d" || path.Ext(p) != ".conf" || t.Get(p).Mode&rootfs.ModeType != rootfs.ModeRegular {
			continue
		}
		r, err := t.Get(p).Content.Open()
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(r, 64<<10))
		r.Close()
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if dir := rootfs.Clean(line); strings.HasPrefix(line, "/") && !slices.Contains(libraryDirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	for _, p := range t.Paths() {
		if !slices.Contains(dirs, path.Dir(p)) || !strings.Contains(path.Base(p), ".so") || t.Get(p).Mode&rootfs.ModeType == rootfs.ModeDir {
			continue
		}
		if to := libraryDirs[0] + "/" + path.Base(p); t.Get(to) == nil {
			if err := t.AddLink(to, "/"+p); err != nil {
				return err
			}
		}
	}
	return nil
}
