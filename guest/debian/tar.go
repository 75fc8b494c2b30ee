package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// The standard library's archive/tar does not tell where an entry's content
// lies. dpkg knows no more of the format than is here (dpkg, lib/dpkg/tarfn.c):
// ustar headers with GNU's long names, and what tar files of upstream have
// besides: names in pax records, after a global header with a comment.

const tarBlock = 512

// tar types (POSIX pax, ustar interchange format; GNU tar's L and K).
const (
	tarRegular  = '0'
	tarOldFile  = 0
	tarHardLink = '1'
	tarSymlink  = '2'
	tarDir      = '5'
	tarLongName = 'L'
	tarLongLink = 'K'
	tarGlobal   = 'g'
	tarExtended = 'x'
)

// listTar reads the headers of a tar file. The entries keep r for their
// content.
func listTar(r io.ReaderAt) ([]*File, error) {
	var list []*File
	seen := map[string]*File{}
	var longName, longLink string
	for at := int64(0); ; {
		var h [tarBlock]byte
		if _, err := r.ReadAt(h[:], at); err != nil {
			if err == io.EOF {
				return nil, errors.New("package content: cut off before the end of its tar file")
			}
			return nil, fmt.Errorf("package content: %w", err)
		}
		if h == [tarBlock]byte{} {
			return list, nil
		}
		if err := checkSum(&h, at); err != nil {
			return nil, err
		}
		size, err := tarNumber(h[124:136])
		if err != nil {
			return nil, fmt.Errorf("package content: header at %d: %w", at, err)
		}
		body := at + tarBlock
		kind := h[156]
		if kind == tarHardLink || kind == tarSymlink || kind == tarDir {
			size = 0
		}
		if size > MaxUnpacked {
			return nil, fmt.Errorf("package content: header at %d: size %d", at, size)
		}
		if size > 0 {
			var last [1]byte
			if _, err := r.ReadAt(last[:], body+size-1); err != nil {
				return nil, errors.New("package content: cut off before the end of its tar file")
			}
		}
		at = body + (size+tarBlock-1)/tarBlock*tarBlock
		if kind == tarLongName || kind == tarLongLink {
			if size > 8192 {
				return nil, fmt.Errorf("package content: a name of %d bytes", size)
			}
			b := make([]byte, size)
			if _, err := r.ReadAt(b, body); err != nil {
				return nil, fmt.Errorf("package content: %w", err)
			}
			if kind == tarLongName {
				longName = text(b)
			} else {
				longLink = text(b)
			}
			continue
		}
		if kind == tarGlobal {
			continue // git archive's comment, which tells the commit
		}
		if kind == tarExtended {
			if size > 64<<10 {
				return nil, fmt.Errorf("package content: pax records of %d bytes", size)
			}
			b := make([]byte, size)
			if _, err := r.ReadAt(b, body); err != nil {
				return nil, fmt.Errorf("package content: %w", err)
			}
			records, err := paxRecords(b)
			if err != nil {
				return nil, fmt.Errorf("package content: header at %d: %w", at, err)
			}
			longName, longLink = records["path"], records["linkpath"]
			continue
		}
		name, link := headerName(&h), text(h[157:257])
		if longName != "" {
			name, longName = longName, ""
		}
		if longLink != "" {
			link, longLink = longLink, ""
		}
		if name, err = cleanPath(name); err != nil {
			return nil, err
		}
		if name == "." {
			continue
		}
		mode, err := tarNumber(h[100:108])
		if err != nil {
			return nil, fmt.Errorf("package content: %s: %w", name, err)
		}
		e := &File{Path: name, Mode: uint32(mode) & 0o7777, tar: r}
		switch kind {
		case tarRegular, tarOldFile:
			e.Mode |= ModeRegular
			e.Size, e.offset = size, body
		case tarDir:
			e.Mode |= ModeDir
		case tarSymlink:
			e.Mode |= ModeSymlink
			e.Link = link
		case tarHardLink:
			target, err := cleanPath(link)
			if err != nil {
				return nil, err
			}
			old := seen[target]
			if old == nil || old.Mode&ModeType != ModeRegular {
				return nil, fmt.Errorf("package content: %q is a hard link to %q, which is no file before it", name, target)
			}
			same := *old
			same.Path = name
			e = &same
		default:
			return nil, fmt.Errorf("package content: %q is of tar type %q; files, folders and links are known", name, kind)
		}
		seen[name] = e
		list = append(list, e)
	}
}

// paxRecords reads "LENGTH KEY=VALUE\n" records, LENGTH being the record's
// own in decimal (POSIX pax, pax Extended Header).
func paxRecords(b []byte) (map[string]string, error) {
	records := map[string]string{}
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b, []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, fmt.Errorf("pax record %.40q is none", b)
		}
		key, value, _ := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		records[key] = value
		b = b[n:]
	}
	return records, nil
}

// checkSum adds up the header with its own field as spaces.
func checkSum(h *[tarBlock]byte, at int64) error {
	want, err := tarNumber(h[148:156])
	var sum int64
	for i, c := range h {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	if err != nil || sum != want {
		return fmt.Errorf("package content: no tar header at %d: its checksum is wrong", at)
	}
	return nil
}

// tarNumber reads octal digits between spaces and NULs, or GNU's big-endian
// form, whose first byte is 0x80.
func tarNumber(b []byte) (int64, error) {
	if b[0] == 0x80 {
		var v int64
		for _, c := range b[1:] {
			if v >= 1<<54 {
				return 0, errors.New("number too large")
			}
			v = v<<8 | int64(c)
		}
		return v, nil
	}
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(s, 8, 62)
	if err != nil {
		return 0, fmt.Errorf("%q is no octal number", s)
	}
	return int64(v), nil
}

func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// headerName joins name[100] with ustar's prefix[155]; GNU's own header has
// other things there, and magic "ustar  ".
func headerName(h *[tarBlock]byte) string {
	name := text(h[:100])
	if string(h[257:263]) == "ustar\x00" {
		if prefix := text(h[345:500]); prefix != "" {
			return prefix + "/" + name
		}
	}
	return name
}

// cleanPath makes a member's name relative to the root and refuses one that
// leaves it.
func cleanPath(name string) (string, error) {
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("package content: path %q leaves the package", name)
		}
	}
	if len(name) > 4000 {
		return "", fmt.Errorf("package content: path of %d bytes", len(name))
	}
	name = path.Clean("/" + name)[1:]
	if name == "" {
		name = "."
	}
	return name, nil
}
