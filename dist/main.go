// Command dist makes the files of a release: for each platform an archive with
// nvlab, the agent of its guests, manual page and completions, for Debian a
// package, and the checksums of all. The same sources, version and Go give the
// same bytes.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A platform is one that files are made for.
type platform struct {
	os, arch string
	debian   string // architecture of its package; "" if there is none
}

var platforms = []platform{
	{"linux", "amd64", "amd64"},
	{"linux", "arm64", "arm64"},
	{"darwin", "arm64", ""},
}

func main() {
	version := flag.String("version", "", "`VERSION` of the release, such as 1.2.0 or 1.3~rc1")
	out := flag.String("o", "release", "`DIR` for the files; it must not exist")
	who := flag.String("maintainer", "", "who answers for Debian's packages, `\"NAME <ADDRESS>\"`; if not given, of DEBFULLNAME and DEBEMAIL")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run ./dist -version VERSION [-maintainer NAME] [-o DIR], in nvlab's folder\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dist: %q: it takes flags only\n", flag.Args())
		os.Exit(2)
	}
	if err := run(ctx, *version, *who, *out); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// versions are those that Debian and file names can have, without a revision
// (Debian policy, 5.6.12).
var versions = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*$`)

func run(ctx context.Context, version, who, out string) (err error) {
	if !versions.MatchString(version) {
		return fmt.Errorf("-version %q: want one that begins with a digit and has letters, digits, '.', '+' and '~', such as 1.2.0", version)
	}
	if who, err = maintainer(who); err != nil {
		return err
	}
	at, err := date(ctx)
	if err != nil {
		return err
	}
	if err := os.Mkdir(out, 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(out) // a part of a release is none
		}
	}()
	work, err := os.MkdirTemp("", "nvlab-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &builder{version: version, work: work}
	common, err := b.common(ctx)
	if err != nil {
		return err
	}
	var made []string
	for _, p := range platforms {
		files, err := b.files(ctx, p, common)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("nvlab_%s_%s_%s", version, p.os, p.arch)
		archive, err := tarGz(under(name, files), at)
		if err != nil {
			return err
		}
		made = append(made, name+".tar.gz")
		if err := os.WriteFile(filepath.Join(out, name+".tar.gz"), archive, 0o666); err != nil {
			return err
		}
		if p.debian == "" {
			continue
		}
		pkg, err := deb(control(version, who, p.debian, files), installed(files), at)
		if err != nil {
			return err
		}
		name = fmt.Sprintf("nvlab_%s_%s.deb", version, p.debian)
		made = append(made, name)
		if err := os.WriteFile(filepath.Join(out, name), pkg, 0o666); err != nil {
			return err
		}
	}
	sums, err := checksums(out, made)
	if err != nil {
		return err
	}
	fmt.Print(sums)
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums), 0o666)
}

// date is what the files are dated: SOURCE_DATE_EPOCH, or when the sources were
// committed.
func date(ctx context.Context) (time.Time, error) {
	text, given := os.LookupEnv("SOURCE_DATE_EPOCH")
	if !given {
		out, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("when the sources were committed is not known (git log: %w): want SOURCE_DATE_EPOCH, in seconds since 1970", err)
		}
		text = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q: want seconds since 1970", text)
	}
	return time.Unix(n, 0).UTC(), nil
}

// checksums are lines as sha256sum -c reads them.
func checksums(dir string, names []string) (string, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(slices.Values(names)) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	return b.String(), nil
}
