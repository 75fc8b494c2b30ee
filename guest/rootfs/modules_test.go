package rootfs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"nvlab/guest/internal/fake"
)

func gunzip(name string, r io.Reader) (io.ReadCloser, error) {
	if !strings.HasSuffix(name, ".gz") {
		return nil, fmt.Errorf("%s is not for gunzip", name)
	}
	return gzip.NewReader(r)
}

// modules makes a set of PATH: .modinfo entries.
func modules(builtin string, set map[string][]string) *Modules {
	var files []ModuleFile
	for p, entries := range set {
		data := fake.Module("6.1.0-test", entries...)
		if strings.HasSuffix(p, ".gz") {
			data = fake.Compress(".gz", data)
		}
		files = append(files, ModuleFile{Path: p, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }})
	}
	m := NewModules("6.1.0-test", files, builtin)
	m.Decompress = gunzip
	return m
}

func TestParseModinfo(t *testing.T) {
	got := parseModinfo([]byte("license=GPL\x00alias=acpi*:ACPI0012:*\x00depends=libnvdimm,dax-core\x00softdep=pre: crc32c x post: y\x00name=nfit\x00vermagic=6.1.0 SMP\x00junk\x00"))
	want := ModuleInfo{Name: "nfit", Depends: []string{"libnvdimm", "dax_core"}, SoftPre: []string{"crc32c", "x"}, Softdep: "pre: crc32c x post: y", Aliases: []string{"acpi*:ACPI0012:*"}, Release: "6.1.0"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseModinfo = %+v, want %+v", got, want)
	}
}

func TestModuleOrder(t *testing.T) {
	m := modules("kernel/lib/built-in.ko\n", map[string][]string{
		"kernel/a/nfit.ko":         {"depends=libnvdimm,built_in"},
		"kernel/a/libnvdimm.ko.gz": {"depends="},
		"kernel/a/nd-pmem.ko":      {"depends=libnvdimm", "softdep=pre: helper none"},
		"kernel/a/helper.ko":       {},
		"kernel/a/loop1.ko":        {"depends=loop2"},
		"kernel/a/loop2.ko":        {"depends=loop1"},
		"kernel/a/broken.ko":       {"depends=missing"},
	})
	for _, tt := range []struct {
		names    []string
		required bool
		want     []string
		err      string
	}{
		{[]string{"nfit", "nd_pmem"}, true, []string{"libnvdimm", "nfit", "helper", "nd_pmem"}, ""},
		{[]string{"nd-pmem", "absent", "built_in"}, false, []string{"helper", "libnvdimm", "nd_pmem"}, ""},
		{[]string{"built-in"}, true, nil, ""},
		{[]string{"absent"}, true, nil, "no module absent"},
		{[]string{"broken"}, false, nil, "no module missing"},
		{[]string{"loop1"}, false, nil, "depends on itself"},
	} {
		got, err := m.Order(tt.names, tt.required)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Order(%q, %v) = %v, want an error with %q", tt.names, tt.required, err, tt.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Order(%q, %v) = %q, %v, want %q", tt.names, tt.required, got, err, tt.want)
		}
	}
}

func TestInstallModules(t *testing.T) {
	m := modules("", map[string][]string{
		"kernel/drivers/nfit.ko":    {"depends=libnvdimm", "alias=acpi*:ACPI0012:*"},
		"kernel/drivers/lib.ko":     {"name=libnvdimm"},
		"kernel/libnvdimm.ko.gz":    {"depends=dax"},
		"kernel/drivers/dax/dax.ko": {},
	})
	names, err := m.Order([]string{"nfit"}, true)
	if err != nil {
		t.Fatal(err)
	}
	tr := NewTree()
	if err := m.Install(tr, names); err != nil {
		t.Fatal(err)
	}
	root := "lib/modules/6.1.0-test/"
	for name, want := range map[string]string{
		"modules.dep":   "kernel/drivers/dax/dax.ko:\nkernel/libnvdimm.ko: kernel/drivers/dax/dax.ko\nkernel/drivers/nfit.ko: kernel/libnvdimm.ko kernel/drivers/dax/dax.ko\n",
		"modules.alias": "alias acpi*:ACPI0012:* nfit\n",
	} {
		n := tr.Get(root + name)
		if n == nil {
			t.Fatalf("no %s in the tree", name)
		}
		if got, _ := n.ReadAll(); string(got) != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if n := tr.Get(m.Path("libnvdimm")); n == nil {
		t.Errorf("Path(libnvdimm) = %q, which is not in the tree", m.Path("libnvdimm"))
	} else if b, _ := n.ReadAll(); !bytes.HasPrefix(b, []byte("\x7fELF")) {
		t.Error("a compressed module is in the tree as it was, want it decompressed")
	}
}

func TestModuleOfAnotherKernel(t *testing.T) {
	data := fake.Module("6.1.0-other")
	m := NewModules("6.1.0-test", []ModuleFile{{Path: "kernel/x.ko", Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}}, "")
	if _, err := m.Order([]string{"x"}, true); err == nil || !strings.Contains(err.Error(), "6.1.0-other") {
		t.Errorf("Order of another kernel's module = %v, want an error that names it", err)
	}
}

func TestApplets(t *testing.T) {
	got, err := Applets(fake.Busybox("arch", "ash", "cat", "dd", "echo", "grep", "ls", "mount", "sh", "tar"))
	if err != nil || len(got) != 12 || got[0] != "[" || got[11] != "tar" {
		t.Errorf("Applets = %q, %v, want 12 from [ to tar", got, err)
	}
	// What comes before the table is code or other data, with or without a NUL.
	// Debian's 1.35 has a NUL there, its 1.37 a space.
	table := "[\x00[[\x00arch\x00ash\x00cat\x00dd\x00echo\x00grep\x00ls\x00mount\x00sh\x00tar\x00"
	for _, before := range []string{"", "\x00", "\xc0\xae ", "x", "zcip\x00", "a\x00b\x00c\x00 ", strings.Repeat("y", 100)} {
		for _, after := range []string{"", "\x00", "\x00\x01\x02a\x00b\x00", "able\x00baker\x00"} {
			got, err := Applets([]byte("\x7fELF\x00ls\x00" + before + table + after))
			if err != nil || strings.Join(got, "\x00")+"\x00" != table {
				t.Errorf("Applets of a table between %q and %q = %q, %v, want its 12 names", before, after, got, err)
			}
		}
	}
	for _, b := range [][]byte{nil, []byte("no table"), fake.Busybox("zz", "aa")} {
		if got, err := Applets(b); err == nil {
			t.Errorf("Applets(%.20q) = %q, want an error", b, got)
		}
	}
}
