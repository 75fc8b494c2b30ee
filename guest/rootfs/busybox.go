package rootfs

import (
	"bytes"
	"errors"
)

// Applets lists the names that a busybox program answers to, as its table of
// names has them: sorted, each ended by NUL, "[" and "[[" first (busybox,
// include/applet_tables.h, applet_names).
func Applets(program []byte) ([]string, error) {
	start := bytes.Index(program, []byte("\x00[\x00[[\x00"))
	if start < 0 {
		return nil, errors.New("busybox has no table of applets")
	}
	var list []string
	for rest := program[start+1:]; ; {
		end := bytes.IndexByte(rest, 0)
		if end <= 0 || end > 40 {
			break
		}
		name := string(rest[:end])
		if len(list) > 0 && name <= list[len(list)-1] || !appletName(name) {
			break
		}
		list = append(list, name)
		rest = rest[end+1:]
	}
	if len(list) < 10 {
		return nil, errors.New("busybox has no table of applets")
	}
	return list, nil
}

func appletName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.', c == '[':
		default:
			return false
		}
	}
	return true
}
