// Package acpitest runs tables through the tools of ACPICA, the reference
// implementation that Linux embeds: the compiler iasl and the interpreter
// acpiexec. Tests that use it are skipped where the tools (Debian package
// acpica-tools) are not installed.
package acpitest

import (
	"bytes"
	"fmt"
	"nvlab/internal/require"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tool finds a tool or skips the test; with NVLAB_REQUIRE_ACPICA=1 it fails
// instead.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		require.Missing(tb, "ACPICA", "%s is not installed (Debian package acpica-tools)", name)
	}
	return path
}

// run gives the output of a tool in dir, and fails the test if it exits with
// an error.
func run(tb testing.TB, dir, name string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(tool(tb, name), args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// write stores tables as t0.aml, t1.aml, ... in a new directory.
func write(tb testing.TB, tables ...[]byte) (dir string, files []string) {
	tb.Helper()
	dir = tb.TempDir()
	for i, t := range tables {
		name := fmt.Sprintf("t%d.aml", i)
		if err := os.WriteFile(filepath.Join(dir, name), t, 0o644); err != nil {
			tb.Fatal(err)
		}
		files = append(files, name)
	}
	return dir, files
}

func read(tb testing.TB, dir, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Decompile gives what iasl -d makes of a table; others resolve the names that
// a definition block refers to.
func Decompile(tb testing.TB, table []byte, others ...[]byte) string {
	tb.Helper()
	dir, files := write(tb, append([][]byte{table}, others...)...)
	args := []string{"-vs"}
	if len(others) > 0 {
		args = append(args, "-e", strings.Join(files[1:], ","))
	}
	out := run(tb, dir, "iasl", append(args, "-d", files[0])...)
	for _, bad := range []string{"Error", "Warning", "Invalid", "unresolved"} {
		if strings.Contains(out, bad) {
			tb.Errorf("iasl -d complains of the table:\n%s", out)
			break
		}
	}
	return string(read(tb, dir, "t0.dsl"))
}

var verdict = regexp.MustCompile(`(\d+) Errors, (\d+) Warnings`)

// Compile gives the table that iasl makes of a source without optimizing it.
// An error or a warning fails the test.
func Compile(tb testing.TB, source string) []byte {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s.dsl"), []byte(source), 0o644); err != nil {
		tb.Fatal(err)
	}
	out := run(tb, dir, "iasl", "-vs", "-oa", "-z", "-p", "out", "s.dsl")
	if m := verdict.FindStringSubmatch(out); m != nil && (m[1] != "0" || m[2] != "0") {
		tb.Fatalf("iasl complains of the source:\n%s", out)
	}
	return read(tb, dir, "out.aml")
}

// Recompile decompiles a table and compiles the text again, and gives the text
// and the table that comes out. An error or a warning fails the test.
func Recompile(tb testing.TB, table []byte, others ...[]byte) (source string, again []byte) {
	tb.Helper()
	source = Decompile(tb, table, others...)
	return source, Compile(tb, source)
}

// Exec loads a DSDT, or none, and any SSDTs into acpiexec, whose operation
// regions are memory that begins as zeros, runs commands of its debugger such
// as `evaluate \_SB.DEV0._STA` and gives the output. An exception in the AML
// fails the test. A run takes acpiexec a second: pass it all commands at once.
func Exec(tb testing.TB, commands []string, tables ...[]byte) string {
	tb.Helper()
	dir, files := write(tb, tables...)
	out := run(tb, dir, "acpiexec", append([]string{"-b", strings.Join(commands, "; ")}, files...)...)
	for _, bad := range []string{"ACPI Error", "ACPI Exception", "ACPI Warning", "ACPI BIOS"} {
		if strings.Contains(out, bad) {
			tb.Errorf("acpiexec complains of the tables:\n%s", out)
			break
		}
	}
	return out
}
