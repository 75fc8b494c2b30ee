package states

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"sync"
)

// Program names the program that is running by its bytes.
var Program = sync.OnceValues(func() (sum Sum, err error) {
	name, err := os.Executable()
	if err != nil {
		return sum, err
	}
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	if id := buildID(f); id != "" {
		return sha256.Sum256([]byte(id)), nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return Sum(h.Sum(nil)), nil
})

// buildIDStart and buildIDEnd enclose the id that Go's linker writes in front of
// a program's first instruction, and cmd/go fills in with a hash of all the rest
// (cmd/internal/buildid).
const (
	buildIDStart = "\xff Go build ID: \""
	buildIDEnd   = "\"\n \xff"
)

// buildID is a program's, "" if it has none or one that is not a hash of all
// its bytes.
func buildID(f io.ReaderAt) string {
	head := make([]byte, 64<<10)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return ""
	}
	_, rest, found := bytes.Cut(head[:n], []byte(buildIDStart))
	id, _, whole := bytes.Cut(rest, []byte(buildIDEnd))
	// actionID/[...]/contentID, each a hash in 20 letters of base64.
	if parts := bytes.Split(id, []byte("/")); !found || !whole || len(parts) != 4 || len(parts[3]) != 20 {
		return ""
	}
	return string(id)
}
