package rootfs

import (
	"bytes"
	"errors"
	"strings"
)

// maxApplet bounds an applet's name, in bytes.
const maxApplet = 40

// fewestApplets is the length that tells the table of applets from other runs
// of sorted strings.
const fewestApplets = 10

// Applets lists the names that a busybox program answers to, as its table of
// names has them: sorted, each ended by NUL (busybox, include/applet_tables.h,
// applet_names). The table is the program's longest run of such names; what
// comes before it differs from build to build, and may run into its first name.
func Applets(program []byte) ([]string, error) {
	var run, best []string
	before := "" // the string that the run follows
	for rest := program; len(rest) > 0; {
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			break
		}
		s := string(rest[max(0, end-maxApplet):end])
		rest = rest[end+1:]
		switch {
		case !appletName(s):
			run, before = nil, s
			continue
		case len(run) == 0:
			run = leading(before, s)
		case s <= run[len(run)-1]:
			run = nil
		}
		run, before = append(run, s), s
		if len(run) > len(best) {
			best = run
		}
	}
	if len(best) < fewestApplets {
		return nil, errors.New("busybox has no table of applets: no run of sorted names in it")
	}
	return best, nil
}

// leading is the first name of a table whose second is next: the end of the
// string before, where other bytes run into it.
func leading(before, next string) []string {
	for i := range before {
		if s := before[i:]; appletName(s) && s < next && (!strings.HasPrefix(next, "[") || s[0] == '[') {
			return []string{s}
		}
	}
	return nil
}

func appletName(s string) bool {
	if s == "" || len(s) > maxApplet {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		case c == '[' && strings.Trim(s, "[") == "": // "[" and "[["
		default:
			return false
		}
	}
	return true
}
