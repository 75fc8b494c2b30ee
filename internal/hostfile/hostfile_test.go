package hostfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(path, 5); err != nil || string(data) != "12345" {
		t.Errorf("Read(5 bytes, 5) = %q, %v, want them", data, err)
	}
	zero := filepath.Join(dir, "zero")
	if err := os.Symlink("/dev/zero", zero); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		path:            "has more than 4 bytes",
		dir:             "is a folder",
		zero:            "is no regular file",
		dir + "/absent": "no such file",
	} {
		if data, err := Read(path, 4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Read(%s, 4) = %d bytes, error %v, want one that says %q", path, len(data), err, want)
		}
	}
}
