package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"nvlab/guest/rootfs"
)

// keepInitrds is how many agents' initramfs a guest keeps.
const keepInitrds = 4

// Initramfs returns the path of the guest's initramfs with a program as its
// /init: "" is the running program, which must be one that calls agent.Main
// when it is pid 1. The program must be a static x86-64 Linux one. What the
// kernel does not load of it is left out.
func (im *Image) Initramfs(agent string) (string, error) {
	if agent == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("cannot find the running program, the guest's agent: %w", err)
		}
		agent = self
	}
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

// pruneInitrds removes the oldest but a few, and what dead processes left.
func (im *Image) pruneInitrds(keep string) {
	dir := filepath.Dir(keep)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type old struct {
		name string
		age  int64
	}
	var list []old
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) || err != nil || e.Name() == filepath.Base(keep) {
			continue
		}
		if strings.HasSuffix(e.Name(), ".cpio") {
			list = append(list, old{e.Name(), info.ModTime().UnixNano()})
		}
	}
	for len(list) >= keepInitrds {
		oldest := 0
		for i := range list {
			if list[i].age < list[oldest].age {
				oldest = i
			}
		}
		os.Remove(filepath.Join(dir, list[oldest].name))
		list = append(list[:oldest], list[oldest+1:]...)
	}
}
