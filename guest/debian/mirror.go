package debian

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MirrorVariable names the environment variable that overrides where packages
// come from: the URL of a mirror of Debian's archive, and after a space that of
// one of its security updates, if that is not the first with "-security" added.
const MirrorVariable = "NVLAB_MIRROR"

// Where Debian's archives are, if neither the environment nor the host's apt
// names a mirror, or its mirror lacks what is asked for.
var (
	publicMirrors  = []string{"http://deb.debian.org/debian", "http://archive.debian.org/debian"}
	publicSecurity = []string{"http://deb.debian.org/debian-security", "http://security.debian.org/debian-security", "http://archive.debian.org/debian-security"}
)

// Mirrors are the URLs of archives, in the order they are asked, without a
// slash at the end.
type Mirrors struct {
	Main, Security []string
	// Proxy is the proxy for a request, or nil.
	Proxy func(*http.Request) (*url.URL, error)
}

// aptDir is where the host's apt is set up; tests set another.
var aptDir = "/etc/apt"

// HostMirrors returns what the environment says, or else the mirrors of the
// host's apt sources and then the public ones. The proxy is the environment's,
// or else that of apt's configuration.
func HostMirrors(ctx context.Context) (*Mirrors, error) {
	m := &Mirrors{Proxy: hostProxy(ctx)}
	if text := os.Getenv(MirrorVariable); text != "" {
		f := strings.Fields(text)
		if len(f) == 1 {
			f = append(f, strings.TrimRight(f[0], "/")+"-security")
		}
		for _, s := range f {
			if u, err := url.Parse(s); err != nil || !reachable(u.Scheme) || u.Host == "" && u.Scheme != "file" {
				return nil, fmt.Errorf("%s=%q: %q is no URL of a mirror; want http://HOST/debian, and if its security updates are not at http://HOST/debian-security, their URL after a space", MirrorVariable, text, s)
			}
		}
		if len(f) > 2 {
			return nil, fmt.Errorf("%s=%q: want one URL, or two", MirrorVariable, text)
		}
		m.Main, m.Security = []string{strings.TrimRight(f[0], "/")}, []string{strings.TrimRight(f[1], "/")}
		return m, nil
	}
	m.Main, m.Security = aptSources(aptDir)
	m.Main = unique(append(m.Main, publicMirrors...))
	m.Security = unique(append(m.Security, publicSecurity...))
	return m, nil
}

func reachable(scheme string) bool { return scheme == "http" || scheme == "https" || scheme == "file" }

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// aptSources reads the mirrors of Debian's archives out of sources.list(5).
// What is no mirror of Debian's, however it looks, has no Release file that
// Debian signed, and is passed over when it is asked.
func aptSources(dir string) (main, security []string) {
	add := func(types, uris, suites, components []string) {
		if !slices.Contains(types, "deb") || !slices.Contains(components, "main") {
			return
		}
		for _, s := range suites {
			name, rest, _ := strings.Cut(strings.TrimSuffix(s, "/"), "-")
			if !Known(name) && !slices.Contains([]string{"oldoldstable", "oldstable", "stable", "testing", "unstable"}, name) {
				continue
			}
			for _, uri := range uris {
				uri = strings.TrimRight(uri, "/")
				if u, err := url.Parse(uri); err != nil || !reachable(u.Scheme) {
					continue
				}
				if rest == "security" {
					security = append(security, uri)
				} else {
					main = append(main, uri)
				}
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*"))
	for _, file := range append([]string{filepath.Join(dir, "sources.list")}, files...) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		switch filepath.Ext(file) {
		case ".list":
			for line := range strings.Lines(string(b)) {
				line, _, _ = strings.Cut(line, "#")
				// deb [ option=value ... ] uri suite component...
				if before, after, ok := strings.Cut(line, "["); ok {
					_, after, _ = strings.Cut(after, "]")
					line = before + after
				}
				if f := strings.Fields(line); len(f) > 3 {
					add(f[:1], f[1:2], f[2:3], f[3:])
				}
			}
		case ".sources":
			for _, fields := range stanzas(b) {
				if fields["enabled"] != "no" {
					add(strings.Fields(fields["types"]), strings.Fields(fields["uris"]), strings.Fields(fields["suites"]), strings.Fields(fields["components"]))
				}
			}
		}
	}
	return unique(main), unique(security)
}

// stanzas reads deb822(5) text.
func stanzas(b []byte) (list []map[string]string) {
	fields, last := map[string]string{}, ""
	for s := bufio.NewScanner(strings.NewReader(string(b) + "\n\n")); s.Scan(); {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(fields) > 0 {
				list = append(list, fields)
			}
			fields, last = map[string]string{}, ""
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += " " + strings.TrimSpace(line)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(name)
			fields[last] = strings.TrimSpace(value)
		}
	}
	return list
}

// hostProxy is what the environment says (http_proxy, https_proxy, no_proxy),
// or else apt's Acquire::http::Proxy.
func hostProxy(ctx context.Context) func(*http.Request) (*url.URL, error) {
	apt := aptProxies(ctx)
	return func(r *http.Request) (*url.URL, error) {
		u, err := http.ProxyFromEnvironment(r)
		if u != nil || err != nil {
			return u, err
		}
		for _, key := range []string{r.URL.Scheme + "::proxy::" + r.URL.Hostname(), r.URL.Scheme + "::proxy"} {
			switch s := apt[key]; s {
			case "":
			case "DIRECT":
				return nil, nil
			default:
				return url.Parse(s)
			}
		}
		return nil, nil
	}
}

// aptProxies asks the host's apt, if there is one. apt.conf(5), The Acquire Group.
func aptProxies(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list := map[string]string{}
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "--no-empty", "--format", "%F=%v%n", "Acquire").Output()
	if err != nil {
		return list
	}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		list[strings.TrimPrefix(strings.ToLower(key), "acquire::")] = value
	}
	return list
}
