package rootfs

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"strings"
)

// ModuleInfo is what a kernel module's .modinfo section says of it.
type ModuleInfo struct {
	Name    string // as /sys/module has it: with _ for -
	Depends []string
	SoftPre []string // softdep: pre
	Softdep string   // as it stands
	Aliases []string
	Release string // the vermagic's first word: uname -r
}

// ReadModuleInfo parses an uncompressed .ko file.
func ReadModuleInfo(ko []byte) (ModuleInfo, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return ModuleInfo{}, fmt.Errorf("broken kernel module: %w", err)
	}
	s := f.Section(".modinfo")
	if s == nil || s.Type == elf.SHT_NOBITS {
		return ModuleInfo{}, fmt.Errorf("broken kernel module: no .modinfo section")
	}
	if s.Size > uint64(len(ko)) {
		return ModuleInfo{}, fmt.Errorf("broken kernel module: .modinfo of %d bytes", s.Size)
	}
	b, err := io.ReadAll(s.Open())
	if err != nil {
		return ModuleInfo{}, fmt.Errorf("broken kernel module: %w", err)
	}
	return parseModinfo(b), nil
}

// parseModinfo reads the NUL-separated KEY=VALUE strings (Linux,
// include/linux/moduleparam.h, MODULE_INFO).
func parseModinfo(b []byte) ModuleInfo {
	var m ModuleInfo
	for _, entry := range strings.Split(string(b), "\x00") {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		switch key {
		case "name":
			m.Name = moduleName(value)
		case "depends":
			for _, d := range strings.Split(value, ",") {
				if d != "" {
					m.Depends = append(m.Depends, moduleName(d))
				}
			}
		case "softdep":
			// "pre: a b post: c"
			m.Softdep = strings.TrimSpace(m.Softdep + " " + value)
			pre := false
			for _, w := range strings.Fields(value) {
				if strings.HasSuffix(w, ":") {
					pre = w == "pre:"
				} else if pre {
					m.SoftPre = append(m.SoftPre, moduleName(w))
				}
			}
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "vermagic":
			m.Release, _, _ = strings.Cut(value, " ")
		}
	}
	return m
}

// moduleName is the name of a module, from a path or another spelling of it.
func moduleName(p string) string {
	base := path.Base(p)
	for _, ext := range []string{".xz", ".zst", ".gz", ".ko"} {
		base = strings.TrimSuffix(base, ext)
	}
	return strings.ReplaceAll(base, "-", "_")
}
