package guest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
)

// sourcePrefix tells a source package from one of programs, as in Debian's bug
// reports.
const sourcePrefix = "src:"

// sourceRoot is where sources are in the guest, each in a folder of its name.
const sourceRoot = "usr/src/"

// splitSources tells packages of programs from source packages, whose prefix it
// takes away.
func splitSources(extra []string) (names, sources []string) {
	for _, p := range extra {
		if source, ok := strings.CutPrefix(p, sourcePrefix); ok {
			sources = append(sources, source)
		} else {
			names = append(names, p)
		}
	}
	return names, sources
}

// findSources looks source packages up.
func (b *builder) findSources(ctx context.Context, names []string) (list []debian.Package, err error) {
	for _, name := range names {
		p, err := b.archives[b.release].Source(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// addSources adds the files of source packages.
func (b *builder) addSources(ctx context.Context, t *rootfs.Tree) error {
	if len(b.sources) == 0 {
		return nil
	}
	if err := b.fetch(ctx, b.archives[b.release], b.sources, func(_ debian.Package, err error) error { return err }); err != nil {
		return err
	}
	for _, p := range b.sources {
		if err := b.addSource(ctx, t, p); err != nil {
			return fmt.Errorf("source package %s: %w", p, err)
		}
		b.packages = append(b.packages, p)
	}
	return nil
}

func (b *builder) addSource(ctx context.Context, t *rootfs.Tree, p debian.Package) error {
	tar, err := os.Open(filepath.Join(b.store.downloads(), p.FileName()))
	if err != nil {
		return err
	}
	defer tar.Close()
	spool, err := b.spool()
	if err != nil {
		return err
	}
	files, err := debian.UnpackSource(ctxReader{ctx, tar}, spool, func(n int) { b.progress.Add(int64(n)) })
	if err != nil {
		return err
	}
	for _, f := range files {
		n := rootfs.Node{Mode: f.Mode, Size: f.Size, Link: f.Link}
		if n.Mode&rootfs.ModeType == rootfs.ModeRegular {
			n.Content = f
		}
		if err := t.Add(sourceRoot+p.Name+"/"+f.Path, n); err != nil {
			return err
		}
	}
	return nil
}
