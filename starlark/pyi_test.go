package nvstar

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestStubs has Python read the stubs, where there is one.
func TestStubs(t *testing.T) {
	text := Stubs()
	for _, want := range []string{
		"\nclass Vm:\n", "\nclass MemoryDevice:\n", "\ncheck: Check\n", "\nKiB: int\n",
		"    def boot(self, *, timeout: str = \"60s\") -> ",
		"    def run(self, command, *, check: bool = True, ",
		") -> Result:\n", "    backend: Backend\n", "    nvdimms: list[Nvdimm]\n", "-> Iterable[State]:\n",
		"    def log(self, *values) -> Any:\n", "\ndef struct(**fields) -> Any:\n", "\ndef cases(*values, **named) -> Any:\n",
		"memory: int | str = \"256MiB\"", "maxmem: int | str | None = None",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the stubs lack %q", want)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to read them with")
	}
	cmd := exec.Command(python, "-c", "import ast, sys; print(len([n for n in ast.walk(ast.parse(sys.stdin.read())) if isinstance(n, (ast.FunctionDef, ast.AnnAssign))]))")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("Python cannot read the stubs: %s", out)
	}
	n := 1 // check itself
	for _, top := range Topics() {
		n += len(top.Subs)
	}
	if got := strings.TrimSpace(string(out)); got != strconv.Itoa(n) {
		t.Errorf("Python finds %s names in the stubs, want %d", got, n)
	}
}
