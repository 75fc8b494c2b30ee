package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An editor talks to nvlab lsp as editors do.
type editor struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
	ids int
}

func startEditor(t *testing.T) (*editor, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command("nvlab", "lsp", "--stdio")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() { stuck.Stop(); cmd.Process.Kill(); cmd.Wait() })
	return &editor{t: t, in: in, out: bufio.NewReader(out)}, cmd
}

func (e *editor) send(m map[string]any) {
	e.t.Helper()
	m["jsonrpc"] = "2.0"
	body, err := json.Marshal(m)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(e.in, "Content-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		e.t.Fatal(err)
	}
}

// read is the next message.
func (e *editor) read() map[string]json.RawMessage {
	e.t.Helper()
	header, err := textproto.NewReader(e.out).ReadMIMEHeader()
	if err != nil {
		e.t.Fatalf("no answer: %v", err)
	}
	n, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil {
		e.t.Fatal(err)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(e.out, body); err != nil {
		e.t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		e.t.Fatalf("%s: %v", body, err)
	}
	return m
}

// ask is the response to a request: its result, or its error.
func (e *editor) ask(method string, params any) string {
	e.t.Helper()
	e.ids++
	e.send(map[string]any{"id": e.ids, "method": method, "params": params})
	m := e.read()
	if string(m["id"]) != strconv.Itoa(e.ids) {
		e.t.Fatalf("%s is answered by a message of id %s, want %d", method, m["id"], e.ids)
	}
	if m["error"] != nil {
		return "error " + string(m["error"])
	}
	return string(m["result"])
}

// notify returns the diagnostics that follow.
func (e *editor) notify(method string, params any) string {
	e.t.Helper()
	e.send(map[string]any{"method": method, "params": params})
	m := e.read()
	if string(m["method"]) != `"textDocument/publishDiagnostics"` {
		e.t.Fatalf("%s is followed by %s, want diagnostics", method, m["method"])
	}
	return string(m["params"])
}

const lspLibrary = `"""What other scenarios load."""

def booted(t, *, label = "128KiB"):
    """A machine that has booted."""
    vm = t.vm(slots = 1)
    vm.boot()
    return vm, vm.snapshot()
`

const lspText = `load("./lib.star", "booted")

_SIZE = 64 * MiB # é𝄞

def test_x(t):
    """Says what it does."""
    vm, base = booted(t)
    disk = t.backend_file(path = "é𝄞.img", size = _SIZE)
    dimm = vm.plug(backend = disk)
    for state in vm.trace("sync").crash_states():
        check.eq(state.id, dimm.backend.path)
    fork = base.fork()
    fork.run("true")
`

// TestLSP is a session of an editor's.
func TestLSP(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lib.star"), []byte(lspLibrary), 0o644); err != nil {
		t.Fatal(err)
	}
	uri := func(name string) string {
		return (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, name))}).String()
	}
	e, cmd := startEditor(t)
	if got := e.ask("textDocument/hover", nil); !strings.Contains(got, "the first request is initialize") {
		t.Errorf("before initialize hover is answered by %s", got)
	}
	if got := e.ask("initialize", map[string]any{"processId": os.Getpid(), "capabilities": map[string]any{}}); !strings.Contains(got, `"completionProvider"`) {
		t.Errorf("initialize is answered by %s, want completionProvider", got)
	}
	e.send(map[string]any{"method": "initialized", "params": map[string]any{}})
	document := map[string]any{"uri": uri("x.star"), "languageId": "starlark", "version": 1, "text": lspText}
	if got := e.notify("textDocument/didOpen", map[string]any{"textDocument": document}); !strings.Contains(got, `"diagnostics":[]`) {
		t.Errorf("a scenario that is right has the diagnostics %s", got)
	}
	version := 1
	change := func(text string) string {
		version++
		return e.notify("textDocument/didChange", map[string]any{
			"textDocument": map[string]any{"uri": uri("x.star"), "version": version}, "contentChanges": []any{map[string]any{"text": text}}})
	}
	// at asks about a place in text, so many bytes behind the beginning of mark.
	at := func(method, text, mark string, more int) string {
		t.Helper()
		i := strings.Index(text, mark)
		if i < 0 {
			t.Fatalf("the text has no %q", mark)
		}
		i += more
		line := strings.Count(text[:i], "\n")
		units := 0
		for _, r := range text[strings.LastIndexByte(text[:i], '\n')+1 : i] {
			if units++; r > 0xffff {
				units++
			}
		}
		return e.ask("textDocument/"+method, map[string]any{"textDocument": map[string]any{"uri": uri("x.star")}, "position": map[string]any{"line": line, "character": units}})
	}

	for _, test := range []struct {
		method, mark string
		more         int // bytes from the mark's beginning to the place
		want         string
	}{
		{"hover", "vm.plug", 4, "vm.plug(*, backend, id=None"},
		{"hover", "booted(t)", 2, `def booted(t, *, label = \"128KiB\")`},
		{"hover", "booted(t)", 2, "A machine that has booted."},
		{"hover", "state.id", 1, `\nstate"`},
		{"hover", "state.id", 7, "state.id"},
		{"hover", "backend.path", 9, "The file's path"},
		{"hover", "MiB", 1, "1024 * KiB"},
		{"hover", "fork.run", 6, "vm.run(command"},
		{"hover", "check.eq", 6, "got == want"},
		{"hover", "é𝄞.img", 2, "null"},
		{"definition", "booted(t)", 2, `/lib.star","range":{"start":{"line":2,"character":4},"end":{"line":2,"character":10}}`},
		{"definition", `"booted"`, 2, `/lib.star","range":{"start":{"line":2,"character":4}`},
		{"definition", "./lib.star", 3, `/lib.star","range":{"start":{"line":0,"character":0}`},
		{"definition", "_SIZE)", 1, `/x.star","range":{"start":{"line":2,"character":0},"end":{"line":2,"character":5}}`},
		{"definition", "disk)", 1, `"start":{"line":7,"character":4}`},
		{"definition", "state.id", 1, `"start":{"line":9,"character":8}`},
		{"definition", "t.backend_file", 0, `"start":{"line":4,"character":11}`},
		{"signatureHelp", "size = _SIZE)", 3, `"activeParameter":1`},
		{"signatureHelp", "size = _SIZE)", 3, `"label":"t.backend_file(`},
		{"signatureHelp", "t)\n    disk", 0, `"label":"booted(t, *, label = \"128KiB\")"`},
		{"documentSymbol", "load", 0, `"name":"test_x","detail":"Says what it does."`},
	} {
		if got := at(test.method, lspText, test.mark, test.more); !strings.Contains(got, test.want) {
			t.Errorf("%s at %q+%d is %s, want %s", test.method, test.mark, test.more, got, test.want)
		}
	}

	for _, test := range []struct{ typed, method, want, not string }{
		{"    vm.", "completion", `"label":"plug_memory"`, `"label":"crash_states"`},
		{"    vm.pl", "completion", `"label":"plug"`, `"label":"KiB"`},
		{"    dimm.backend.", "completion", `"label":"sha256"`, `"label":"plug"`},
		{"    vm.nvdimms[0].", "completion", `"label":"tear"`, `"label":"plug"`},
		{"    dimm.security().", "completion", `"label":"frozen"`, `"label":"plug"`},
		{"    dimm.poisoned[0].", "completion", `"label":"latent"`, `"label":"plug"`},
		{"    for m in vm.memory_devices():\n        m.", "completion", `"label":"hotplugged"`, `"label":"plug"`},
		{"    base.fork().", "completion", `"label":"ndctl"`, `"label":"fork("`},
		{"    vm.plug(", "completion", `"insertText":"label_size = "`, ""},
		{"    vm.plug(backend = ", "completion", `"label":"disk"`, `"label":"label_size"`},
		{"    vm.plug(backend = disk, id = \"a,b\", la", "signatureHelp", `"label":"vm.plug(`, `"activeParameter":3`},
		{"    vm.plug(backend = disk, slot = ", "signatureHelp", `"activeParameter":4`, ""},
		{"    chec", "completion", `"label":"check"`, `"label":" `},
		{"    ba", "completion", `"label":"base"`, ""},
		{"    # vm.", "completion", "[]", "label"},
		{"    x = \"vm.", "completion", "[]", "label"},
		{"    nothing.", "completion", "[]", "label"},
	} {
		text := lspText + test.typed
		change(text)
		got := at(test.method, text+"\x00", "\x00", 0)
		if !strings.Contains(got, test.want) || test.not != "" && strings.Contains(got, test.not) {
			t.Errorf("%s after %q is %.2000s, want %s and not %s", test.method, test.typed, got, test.want, test.not)
		}
	}

	for _, test := range []struct{ typed, want string }{
		{"    vm.plgu()\n", `"line":13,"character":7},"end":{"line":13,"character":11}},"severity":1,"source":"nvlab","message":"vm has no .plgu field or method (did you mean .plug?)"`},
		{"    vm.plug(backend = disk, lable_size = 1)\n", "no parameter of vm.plug is called lable_size (did you mean label_size?)"},
		{"    x = = 1\n", `"line":13,"character":8}`},
		{"    undefined_name()\n", "undefined: undefined_name"},
		{"    state.nothing\n", "state has no .nothing"},
		{"    disk.sha256\n", "disk.sha256 is not called: write disk.sha256("},
		{"    f = f\"{x}\"\n", "Starlark has no f-strings"},
		{"    \"𝄞é\"; vm.plgu()\n", `"start":{"line":13,"character":14}`},
		{"\ndef helper(vm, t):\n    vm.anything()\n    t.vm().unknown()\n", "[]"}, // what vm and t are there nobody knows
		{"\nload(\"./none.star\", \"x\")\n", "there is no file ./none.star"},
		{"\nload(\"./lib.star\", \"boted\")\n", "./lib.star has no boted (did you mean booted?)"},
	} {
		if got := change(lspText + test.typed); !strings.Contains(got, test.want) {
			t.Errorf("the diagnostics of %q are %s, want %s", test.typed, got, test.want)
		}
	}

	change("def test_x( t ):\n  pass\n")
	if got := e.ask("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": uri("x.star")}}); !strings.Contains(got, `"newText":"def test_x(t):\n    pass\n"`) {
		t.Errorf("formatting is answered by %s", got)
	}
	if got := e.ask("workspace/none", nil); !strings.Contains(got, "-32601") {
		t.Errorf("an unknown method is answered by %s", got)
	}
	if got := e.ask("shutdown", nil); got != "null" {
		t.Errorf("shutdown is answered by %s, want null", got)
	}
	e.send(map[string]any{"method": "exit"})
	if err := cmd.Wait(); err != nil {
		t.Errorf("after shutdown and exit nvlab lsp ended with %v", err)
	}
}

// TestLSPEnds: an editor that goes away, or sends what is no message, ends it.
func TestLSPEnds(t *testing.T) {
	for _, test := range []struct{ input, want string }{
		{"", "the editor went away without a shutdown"},
		{"Content-Length: 99999999\r\n\r\n", "want a number of bytes, at most 16777216"},
		{"Content-Length: 10\r\n\r\n{}", "a message of 10 bytes: unexpected EOF"},
	} {
		cmd := exec.Command("nvlab", "lsp")
		cmd.Stdin = strings.NewReader(test.input)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) {
			t.Errorf("nvlab lsp, given %q, ended with %v and %q, want %q", test.input, err, out, test.want)
		}
	}
}
