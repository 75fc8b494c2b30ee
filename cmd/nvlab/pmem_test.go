package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"nvlab/internal/require"
	"nvlab/nvlabtest"
)

// fences cuts a page at its blocks of code: the text of each, by language.
var fences = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```\n")

// passing is what differs between compilers and guests.
var passing = regexp.MustCompile(`\\\+0x[0-9a-f]+|0x[0-9a-f]+|\d+\\\.[a-z]\d+-[0-9a-f]{8}|\\\[\d+\\\]|[\d,]+`)

// TestPmemPage builds the program of docs/pmem.md, runs the command, and holds
// what the page shows to what the command prints.
func TestPmemPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		require.Missing(t, "GCC", "no gcc")
	}
	page, err := os.ReadFile("../../docs/pmem.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range fences.FindAllSubmatch(page, -1) {
		blocks[string(m[1])] = append(blocks[string(m[1])], string(m[2]))
	}
	if len(blocks["c"]) == 0 || len(blocks["sh"]) < 2 || len(blocks["text"]) == 0 {
		t.Fatalf("docs/pmem.md has no program, no commands or no report")
	}
	var script bytes.Buffer
	fmt.Fprint(&script, "env NVLAB_REUSE=on\nexec sh compile.sh\nvm 1 sh pmem.sh\n") // the boot is that of vm_pmem.txtar
	for line := range strings.Lines(blocks["text"][0]) {
		if line = strings.TrimSpace(line); line != "..." {
			fmt.Fprintf(&script, "stdout '%s'\n", strings.ReplaceAll(passing.ReplaceAllString(regexp.QuoteMeta(line), `.+`), "'", "''"))
		}
	}
	fmt.Fprintf(&script, "-- store.c --\n%s-- compile.sh --\n%s-- pmem.sh --\n%s", blocks["c"][0], blocks["sh"][0], blocks["sh"][1])
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page.txtar"), script.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, nvlabtest.Params(dir))
}

// TestFileHere: a name without a slash is the guest's, and what was meant may be
// a file here.
func TestFileHere(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("store", nil, 0o755), os.Mkdir("folder", 0o755)); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"store": "did you mean ./store?", "./store": "", "folder": "", "none": ""} {
		if got := fileHere(program); !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("of the program %s nvlab pmem says %q, want %q", program, got, want)
		}
	}
}
