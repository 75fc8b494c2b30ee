package hosttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/guest/debian"
	"nvlab/internal/require"
	"nvlab/vmm/boot"
)

// first is the README's first command, after "go run".
const first = "./cmd/nvlab run -v scenarios/quickstart.star"

// passed is what it prints when all is well.
const passed = "--- PASS: test_namespace_survives_reboot"

// source is the folder of this module.
func source(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// userStore is where lists and packages are kept for the next time.
func userStore(t *testing.T) *guest.Store {
	t.Helper()
	s, err := guest.Open("")
	if err != nil {
		t.Fatal(err)
	}
	s.Vmlinux = boot.Decompress
	for _, dir := range []string{"lists", "downloads"} {
		if err := os.MkdirAll(filepath.Join(s.Dir(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// goEnv is a variable of the go command.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// tool finds a program of the host, or ends the test.
func tool(t *testing.T, what, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		require.Missing(t, what, "%s is not on this host", name)
	}
	return path
}

// debianRoot makes a root of a release with mmdebstrap, or unpacks the one that
// it made before.
func debianRoot(t *testing.T, release string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts machines")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("makes roots of linux/amd64")
	}
	if os.Geteuid() != 0 {
		require.Missing(t, "ROOTS", "only root may make another root and enter it")
	}
	made := filepath.Join(userStore(t).Dir(), "hosttest-"+release+".tar")
	if _, err := os.Stat(made); err != nil {
		bootstrap(t, release, made)
	}
	root := t.TempDir()
	run(t, exec.Command("tar", "-C", root, "--exclude=./dev/*", "-xf", made))
	return root
}

func bootstrap(t *testing.T, release, made string) {
	t.Helper()
	mmdebstrap := tool(t, "ROOTS", "mmdebstrap")
	mirrors, err := debian.HostMirrors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	new := strings.TrimSuffix(made, ".tar") + ".new.tar"
	defer os.Remove(new)
	cmd := exec.Command(mmdebstrap, "--quiet", "--variant=apt", "--mode=root", "--architectures=amd64",
		"--keyring="+filepath.Join(source(t), "guest/debian/keyring/debian-archive-keyring.pgp"),
		`--aptopt=Acquire::Check-Valid-Until "false"`, // of a mirror that stands still
		release, new, "deb "+mirrors.Main[0]+" "+release+" main")
	if out, err := cmd.CombinedOutput(); err != nil {
		require.Missing(t, "ROOTS", "no root of %s can be made: %v\n%s", release, err, out)
	}
	if err := os.Rename(new, made); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// A bind makes a folder of the host visible in a root.
type bind struct{ from, to string }

// inRoot runs a command in a root, in a mount namespace of its own, with the
// user's package lists and packages in its cache of guests.
func inRoot(t *testing.T, root, command string, env []string, binds ...bind) string {
	t.Helper()
	store := userStore(t)
	binds = append(binds, bind{filepath.Join(store.Dir(), "lists"), "/cache/nvlab/lists"}, bind{filepath.Join(store.Dir(), "downloads"), "/cache/nvlab/downloads"},
		bind{"/dev", "/dev"}, bind{"/etc/resolv.conf", "/etc/resolv.conf"}, bind{"/etc/hosts", "/etc/hosts"})
	script := "set -e\n"
	for _, b := range binds {
		to := filepath.Join(root, b.to)
		info, err := os.Stat(b.from)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			err = os.MkdirAll(to, 0o755)
		} else {
			os.Remove(to)
			err = os.WriteFile(to, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		script += fmt.Sprintf("mount --bind '%s' '%s'\n", b.from, to)
	}
	script += fmt.Sprintf("mount -t proc proc '%s/proc'\nexec chroot '%s' /bin/sh -ec '%s'\n", root, root, command)
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	cmd.Env = append(env, "HOME=/root", "XDG_CACHE_HOME=/cache", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/go/bin")
	for _, name := range []string{debian.MirrorVariable, "http_proxy", "https_proxy", "no_proxy"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s in a root of another host: %v\n%s", command, err, out)
	}
	return string(out)
}

// TestFirstCommandOnNewerDebian: the README's first command in a root of each
// release that is newer than the one that nvlab was written on.
func TestFirstCommandOnNewerDebian(t *testing.T) {
	for release, linux := range map[string]string{"trixie": "6.12.", "forky": "7."} {
		t.Run(release, func(t *testing.T) {
			root := debianRoot(t, release)
			out := inRoot(t, root, "cd /src && go run "+first,
				[]string{"GOFLAGS=-mod=readonly -buildvcs=false", "GOPROXY=off", "GOTOOLCHAIN=local", "GOCACHE=/gocache", "GOMODCACHE=/gomod"},
				bind{source(t), "/src"}, bind{goEnv(t, "GOROOT"), "/go"}, bind{goEnv(t, "GOCACHE"), "/gocache"}, bind{goEnv(t, "GOMODCACHE"), "/gomod"})
			if !strings.Contains(out, passed) {
				t.Errorf("the first command on %s prints\n%s\nwant %q in it", release, out, passed)
			}
			name, err := os.ReadFile(filepath.Join(root, "cache/nvlab/guests/default"))
			if err != nil || !strings.HasPrefix(string(name), linux) {
				t.Errorf("the default guest on %s is %q, %v, want one of the host's own release, Linux %s*", release, name, err, linux)
			}
		})
	}
}

// TestFirstCommandWithoutApt: a host that is no Debian, and has neither apt nor
// Go, but nvlab and its agent as two files.
func TestFirstCommandWithoutApt(t *testing.T) {
	root := debianRoot(t, "trixie")
	for _, gone := range []string{"usr/bin/apt", "usr/bin/apt-get", "usr/bin/apt-cache", "usr/bin/apt-config", "usr/bin/dpkg", "usr/bin/dpkg-deb", "etc/apt", "etc/os-release", "usr/lib/os-release"} {
		if err := os.RemoveAll(filepath.Join(root, gone)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=other\nVERSION_CODENAME=first\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"nvlab", "nvlab-agent"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(root, "opt", program), "nvlab/cmd/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		run(t, cmd)
	}
	out := inRoot(t, root, strings.Replace("cd /src && "+first, "./cmd/nvlab", "/opt/nvlab", 1), nil, bind{source(t), "/src"})
	if !strings.Contains(out, passed) {
		t.Errorf("the first command on a host without apt prints\n%s\nwant %q in it", out, passed)
	}
	if agents, _ := os.ReadDir(filepath.Join(root, "cache/nvlab/agents")); len(agents) > 0 {
		t.Errorf("an agent was built (%v) though there is one beside nvlab", agents)
	}
}

// TestFirstCommandOnARM64 runs nvlab as linux/arm64 in QEMU's user-mode
// emulation. The guest is there; its agent is built.
func TestFirstCommandOnARM64(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("emulates linux/arm64 on linux/amd64")
	}
	qemu := tool(t, "ARM64", "qemu-aarch64-static")
	store := userStore(t)
	im, err := store.Ensure(context.Background(), guest.Spec{}, guest.NewProgress(os.Stderr, false))
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "nvlab")
	if err := os.CopyFS(filepath.Join(cache, "guests", im.Name), os.DirFS(im.Dir())); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cache, "guests/default"), []byte(im.Name+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "-exec", qemu}, strings.Fields(first)...)...)
	cmd.Dir = source(t)
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0", "XDG_CACHE_HOME="+filepath.Dir(cache))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), passed) {
		t.Errorf("the first command on linux/arm64 ends with %v and prints\n%s\nwant %q in it", err, out.Bytes(), passed)
	}
	if made, err := filepath.Glob(filepath.Join(cache, "agents/nvlab-agent-*")); err != nil || len(made) != 1 {
		t.Errorf("the agents that were built are %q, %v, want one", made, err)
	}
}
