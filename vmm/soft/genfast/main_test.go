package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestGenerated holds the generated files to what they are generated from.
func TestGenerated(t *testing.T) {
	for name, want := range generate("..", 0) {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("vmm/soft/%s is not what the functions in ops*.go make: run go generate ./vmm/soft", name)
		}
	}
}
