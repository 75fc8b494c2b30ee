package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nvlab/guest/pid1"
	"nvlab/guest/rootfs"
)

// A guest keeps the initramfs of a few agents, and all that are younger than
// initrdGrace.
const (
	keepInitrds = 4
	initrdGrace = time.Hour
)

// Agent returns the path of the program that is pid 1 of guests, and builds it
// if it is not there.
func (s *Store) Agent(ctx context.Context, progress Progress) (string, error) {
	if progress == nil {
		progress = Quiet
	}
	defer progress.Done()
	return pid1.Find(ctx, s.inside("agents"), func() { progress.Phase("building the guests' agent", 0) })
}

// Initramfs returns the path of the guest's initramfs with a program as its
// /init, one that calls agent.Main (see Store.Agent). It must be a static
// x86-64 Linux program. What the kernel does not load of it is left out.
func (im *Image) Initramfs(agent string) (string, error) {
	program, err := os.ReadFile(agent)
	if err != nil {
		return "", fmt.Errorf("cannot read the guest's agent: %w", err)
	}
	sum := sha256.Sum256(program)
	path := filepath.Join(im.dir, initrdsDir, hex.EncodeToString(sum[:8])+".cpio")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	stripped, err := rootfs.StripStatic(program)
	if err != nil {
		return "", fmt.Errorf("%s cannot be the guest's agent: %w", agent, err)
	}
	if err := im.writeInitramfs(path, stripped); err != nil {
		return "", fmt.Errorf("cannot write the guest's initramfs: %w", err)
	}
	im.pruneInitrds(path)
	return path, nil
}

func (im *Image) writeInitramfs(path string, agent []byte) error {
	return writeFileAtomic(path, func(f *os.File) error {
		base, err := os.Open(im.BaseInitrd)
		if err != nil {
			return err
		}
		defer base.Close()
		if _, err := io.Copy(f, base); err != nil {
			return err
		}
		return rootfs.WriteInit(f, agent)
	})
}

// pruneInitrds removes the oldest but a few. One that was made a short while
// ago stays: its process may be about to open it.
func (im *Image) pruneInitrds(keep string) {
	entries, err := os.ReadDir(filepath.Dir(keep))
	if err != nil {
		return
	}
	var old []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.Name() != filepath.Base(keep) && time.Since(info.ModTime()) > initrdGrace {
			old = append(old, info)
		}
	}
	slices.SortFunc(old, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	kept := 0
	for _, info := range old {
		// What does not end so was left by a process that died.
		if strings.HasSuffix(info.Name(), ".cpio") && kept < keepInitrds {
			kept++
			continue
		}
		os.Remove(filepath.Join(filepath.Dir(keep), info.Name()))
	}
}
