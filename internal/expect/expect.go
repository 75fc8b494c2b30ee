// Package expect says in tests what calls were to give.
package expect

import (
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"
)

// Error fails the test unless err has exactly this text; {dir} stands for dir.
// what is the call that gave it.
func Error(t testing.TB, what string, err error, dir, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, "{dir}", dir)
	if err == nil || err.Error() != text {
		t.Errorf("%s gave the error\n  %v\nwant\n  %s", what, err, text)
	}
}

// Opened takes what a function opens, to be closed at the end of the test:
// Opened[T](t)(os.Open(name)).
func Opened[T io.Closer](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		return v
	}
}

// Gunzipped reads a compressed file.
func Gunzipped(t testing.TB, path string) []byte {
	t.Helper()
	z := Opened[*gzip.Reader](t)(gzip.NewReader(Opened[*os.File](t)(os.Open(path))))
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
