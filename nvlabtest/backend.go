package nvlabtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"nvlab/nvdimm/label"
)

func mkbackend(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: mkbackend FILE SIZE [text=TEXT@OFFSET|label=VERSION[:SIZE]|namespace=NAME:SIZE]...")
	}
	if err := makeBackend(ts.MkAbs(args[0]), args[1], args[2:]); err != nil {
		ts.Fatalf("mkbackend: %v", err)
	}
}

func makeBackend(path, sizeText string, content []string) error {
	size, err := parseNumber(sizeText)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	var area []byte
	dpa := uint64(0)
	for _, c := range content {
		key, value, _ := strings.Cut(c, "=")
		switch key {
		case "text":
			text, at, ok := strings.Cut(value, "@")
			if !ok {
				at = "0"
			}
			offset, err := parseNumber(at)
			if err != nil {
				return err
			}
			if _, err := f.WriteAt([]byte(text), offset); err != nil {
				return err
			}
		case "label":
			version, areaSize, ok := strings.Cut(value, ":")
			if !ok {
				areaSize = "128K"
			}
			n, err := parseNumber(areaSize)
			if err != nil {
				return err
			}
			area = make([]byte, n)
			v := map[string]label.Version{"1.1": label.V11, "1.2": label.V12}[version]
			if v == 0 {
				return fmt.Errorf("%q is no version of labels: want 1.1 or 1.2", version)
			}
			if err := label.Init(area, v); err != nil {
				return err
			}
		case "namespace":
			name, nsSize, _ := strings.Cut(value, ":")
			n, err := parseNumber(nsSize)
			if err != nil {
				return err
			}
			sum := sha256.Sum256([]byte(name))
			l := label.Label{UUID: label.UUID(sum[:16]), Name: name, NLabel: 1, DPA: dpa, RawSize: uint64(n), TypeGUID: label.TypePersistentMemory}
			if _, err := label.Add(area, l); err != nil {
				return err
			}
			dpa += uint64(n)
		default:
			return fmt.Errorf("%q: want text=, label= or namespace=", c)
		}
	}
	if area != nil {
		if _, err := f.WriteAt(area, size-int64(len(area))); err != nil {
			return err
		}
	}
	return f.Close()
}

func truncate(ts *testscript.TestScript, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: truncate FILE SIZE")
	}
	ts.Check(os.Truncate(ts.MkAbs(args[0]), number(ts, args[1])))
}

// readAt reads bytes of a file.
func readAt(ts *testscript.TestScript, file string, offset, length int64) []byte {
	f, err := os.Open(ts.MkAbs(file))
	ts.Check(err)
	defer f.Close()
	info, err := f.Stat()
	ts.Check(err)
	if offset > info.Size() || length > info.Size()-offset {
		ts.Fatalf("%s has %d bytes: there are no %d at offset %d", file, info.Size(), length, offset)
	}
	data := make([]byte, length)
	_, err = f.ReadAt(data, offset)
	ts.Check(err)
	return data
}

func hexcmp(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: hexcmp FILE OFFSET HEX")
	}
	want, err := hex.DecodeString(args[2])
	if err != nil {
		ts.Fatalf("hexcmp: %q is not hexadecimal", args[2])
	}
	got := readAt(ts, args[0], number(ts, args[1]), int64(len(want)))
	if same := bytes.Equal(got, want); same == neg {
		if neg {
			ts.Fatalf("%s has %x at %s", args[0], want, args[1])
		}
		ts.Fatalf("%s has %x at %s, want %x", args[0], got, args[1], want)
	}
}

func hexdump(ts *testscript.TestScript, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: hexdump FILE OFFSET LENGTH")
	}
	offset := number(ts, args[1])
	data := readAt(ts, args[0], offset, number(ts, args[2]))
	for at := 0; at < len(data); at += 16 {
		fmt.Fprintf(ts.Stdout(), "%08x  % x\n", offset+int64(at), data[at:min(at+16, len(data))])
	}
}

func labels(ts *testscript.TestScript, args []string) {
	size := int64(label.MinSize)
	switch len(args) {
	case 1:
	case 2:
		size = number(ts, args[1])
	default:
		ts.Fatalf("usage: labels FILE [SIZE]")
	}
	fmt.Fprint(ts.Stdout(), label.Parse(lastBytes(ts, args[0], size)).Text())
}

func lastBytes(ts *testscript.TestScript, file string, n int64) []byte {
	info, err := os.Stat(ts.MkAbs(file))
	ts.Check(err)
	return readAt(ts, file, max(info.Size()-n, 0), min(n, info.Size()))
}

func backendCmp(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: backend-cmp FILE1 FILE2")
	}
	where := firstDifference(ts, args[0], args[1])
	switch {
	case neg && where == "":
		ts.Fatalf("%s and %s are the same", args[0], args[1])
	case !neg && where != "":
		ts.Fatalf("%s and %s differ %s", args[0], args[1], where)
	}
}

// firstDifference says where two files differ first, "" if nowhere.
func firstDifference(ts *testscript.TestScript, a, b string) string {
	x, err := os.ReadFile(ts.MkAbs(a))
	ts.Check(err)
	y, err := os.ReadFile(ts.MkAbs(b))
	ts.Check(err)
	if len(x) != len(y) {
		return fmt.Sprintf("in size: %d and %d bytes", len(x), len(y))
	}
	for at := range x {
		if x[at] != y[at] {
			return fmt.Sprintf("at offset %#x (%s): %#02x and %#02x", at, structureAt(x, at), x[at], y[at])
		}
	}
	return ""
}

// structureAt names what lies at an offset of a backend that may have a label
// area of the least size.
func structureAt(data []byte, at int) string {
	start := len(data) - label.MinSize
	if at < start || start < 0 {
		return "data"
	}
	area := label.Parse(data[start:])
	if area.Current < 0 {
		return "data"
	}
	what, field := area.Describe(at - start)
	if field != "" {
		what += "." + field
	}
	return what
}
