package qemutest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nvlab/internal/expect"
	"nvlab/nvdimm/label"
)

// an echo is a machine that answers with the question, and writes the label
// area of its DIMMs at power-off.
type echo struct {
	dir   string
	dimms []DIMM
}

func startEcho(_ context.Context, o Options, dir string) (side, error) {
	return &echo{dir, o.DIMMs}, nil
}

func (e *echo) Run(command string) (int, string, string, error) {
	return 1, command + "\n", "<&>", nil
}
func (e *echo) ReadFile(path string) ([]byte, error) { return nil, errors.New("no " + path) }
func (e *echo) Plug(d DIMM) error                    { e.dimms = append(e.dimms, d); return nil }
func (e *echo) Close() error                         { return nil }

func (e *echo) MemoryDevices() ([]MemoryDevice, error) {
	return []MemoryDevice{{ID: "dimm0", Addr: 4 << 30}}, nil
}

func (e *echo) PowerOff() error {
	for _, d := range e.dimms {
		data := make([]byte, d.Size)
		area := data[d.Size-d.LabelSize:]
		if err := label.Init(area, label.V12); err != nil {
			return err
		}
		if _, err := label.Add(area, label.Label{DPA: 0, RawSize: mib}); err != nil {
			return err
		}
		copy(data[5:], "data")
		copy(data[mib:], "free space")
		if err := os.WriteFile(filepath.Join(e.dir, d.Path), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// echoed is what is observed of an echo, or of its record.
func echoed(o Options, hot DIMM, commands ...string) observer {
	return func(l launcher, dir string) (facts, error) {
		s, err := l.start(context.Background(), o, dir)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		f := facts{}
		if err := s.Plug(hot); err != nil {
			return nil, err
		}
		for _, c := range commands {
			status, stdout, stderr, err := s.Run(c)
			if err != nil {
				return nil, err
			}
			f["Run "+c] = fmt.Sprint(status, stdout, stderr)
		}
		_, err = s.ReadFile("/file")
		f["ReadFile"] = fmt.Sprint(err)
		list, err := s.MemoryDevices()
		f["MemoryDevices"] = fmt.Sprint(list, err)
		if err := s.PowerOff(); err != nil {
			return nil, err
		}
		for i, d := range append(o.DIMMs, hot) {
			if err := f.addImage(d, dir, i); err != nil {
				return nil, err
			}
		}
		return f, nil
	}
}

func TestPlayback(t *testing.T) {
	here := host{"QEMU 1", "guest 1"}
	dimm := func(n int) DIMM { return file(4*mib, 128*kib).with(func(d *DIMM) { d.Path = fmt.Sprint("dimm", n) }) }
	o, hot := machine(2, "cpu").and(dimm(0)), dimm(1)
	record := filepath.Join(t.TempDir(), "echo.json")
	r := &recorder{here: here, launch: startEcho}
	want, err := echoed(o, hot, "first", "second")(launcher{start: r.start}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.session.save(record); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name    string
		here    host
		observe observer
		before  string // what dimm0's file holds
		err     string // regular expression; "" for none
	}{
		{"the same", here, echoed(o, hot, "first", "second"), "", ""},
		{"QEMU is absent", host{"", here.Guest}, echoed(o, hot, "first", "second"), "", ""},
		{"another QEMU", host{"QEMU 2", here.Guest}, echoed(o, hot, "first", "second"), "", "it is of another QEMU: \"QEMU 1\", here \"QEMU 2\""},
		{"another guest", host{"QEMU 1", "guest 2"}, echoed(o, hot, "first", "second"), "", "it is of another guest: \"guest 1\", here \"guest 2\""},
		{"another machine", here, echoed(machine(3, "cpu").and(dimm(0)), hot, "first", "second"), "", `it is of another machine: ".*slots=2.{50,60}", here ".*slots=3.{50,60}"`},
		{"a file that was there", here, echoed(o, hot, "first", "second"), "1", `it is of another contents of dimm0: "none", here "[0-9a-f]{64}"`},
		{"another DIMM is plugged", here, echoed(o, dimm(2), "first", "second"), "", `call 1 is another: ".*dimm1.*", here ".*dimm2.*"`},
		{"another call", here, echoed(o, hot, "first", "third"), "", `call 3 is another: "Run second", here "Run third"`},
		{"a call less", here, echoed(o, hot, "first"), "", `call 3 is another: "Run second", here "ReadFile /file"`},
		{"a call more", here, echoed(o, hot, "first", "second", "third"), "", `call 4 is another: "ReadFile /file", here "Run third"`},
		{"another order", here, echoed(o, hot, "second", "first"), "", `call 2 is another: "Run first", here "Run second"`},
	} {
		dir := t.TempDir()
		dimm0 := filepath.Join(dir, "dimm0")
		if tt.before != "" {
			if err := os.WriteFile(dimm0, []byte(tt.before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := playback(record, tt.here, dir, tt.observe)
		if tt.err == "" {
			if err != nil {
				t.Errorf("%s: %v, want none", tt.name, err)
			} else if list := differences(want, got); len(list) > 0 {
				t.Errorf("%s: the record has %+v", tt.name, list)
			}
			continue
		}
		if !errors.As(err, new(*misfit)) || !regexp.MustCompile("^"+regexp.QuoteMeta(record)+": "+tt.err+"$").MatchString(err.Error()) {
			t.Errorf("%s: playback gives %v, want a misfit: %s", tt.name, err, tt.err)
		}
		if after, _ := os.ReadFile(dimm0); string(after) != tt.before {
			t.Errorf("%s: the files are written for a record that does not fit", tt.name)
		}
	}
}

// TestWrongRecord: a record is damaged, or has other answers than QEMU.
func TestWrongRecord(t *testing.T) {
	here := host{"QEMU 1", "guest 1"}
	hot := file(4*mib, 128*kib)
	r := &recorder{here: here, launch: startEcho}
	observe := echoed(machine(1, ""), hot, "true")
	qemu, err := observe(launcher{start: r.start}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(t.TempDir(), "wrong.json")
	if err := r.session.save(record); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	// heldTo is what comes of the record when it holds other text.
	heldTo := func(text string) error {
		t.Helper()
		if err := os.WriteFile(record, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := playback(record, here, t.TempDir(), observe)
		if err == nil {
			err = sameFacts(record, qemu, f)
		}
		return err
	}
	if err := heldTo(string(text)); err != nil {
		t.Errorf("the record as it was made: %v", err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{`"Status": 1`, `"Status": 0`, `: Run true = "0true\n<&>", and QEMU has "1true\n<&>"; 0 more facts differ`},
		{`no /file`, `no file`, `: ReadFile = "no file", and QEMU has "no /file"; 0 more facts differ`},
		{"000000000 00000000006461", "000000000 00000000006462", `: file@0/000000000 = "00000000006462746100000000000000", and QEMU has "00000000006461746100000000000000"; 0 more facts differ`},
		{`"Size": 4194304`, `"Size": 100`, `: it is not within 100 bytes`},
		{`"Size": 4194304`, `"Size": -1`, ` is damaged: file: row "000000000 00000000006461746100000000000000": it is not within -1 bytes`},
		{"000000000 0", "x 0", ` is damaged: file: row "x 00000000006461746100000000000000": strconv.ParseInt: parsing "x": invalid syntax`},
		{"000000000 0", "-00000001 0", `it is not within 4194304 bytes`},
		{"000000000 0", "7fffffffffffffff 0", `it is not within 4194304 bytes`},
		{"000000000 0", "000000000", ` is damaged: file: row `},
		{`"file": {`, `"other": {`, ` is damaged: it has no file at power-off`},
		{`"Calls": [`, `"Calls": [{}, `, `: call 1 is another: " ", here "Plug `},
		{`{`, `[`, ` is damaged: `},
	} {
		if strings.Count(string(text), tt.old) == 0 {
			t.Fatalf("the record has no %q:\n%s", tt.old, text)
		}
		err := heldTo(strings.Replace(string(text), tt.old, tt.new, 1))
		if err == nil || !strings.HasPrefix(err.Error(), record) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a record with %q for %q gives %v, want %s%s", tt.new, tt.old, err, record, tt.want)
		}
	}
	for n := 0; n < len(text)-1; n += 1 + n/8 { // the last byte ends a line
		expect.Error(t, fmt.Sprintf("the first %d bytes of a record", n), heldTo(string(text[:n])), "", record+" is damaged: unexpected end of JSON input")
	}
	os.Remove(record)
	if _, err := playback(record, here, t.TempDir(), observe); !errors.As(err, new(*misfit)) || err.Error() != record+" is not there" {
		t.Errorf("no record gives %v, want a misfit", err)
	}
}

// TestContents: what a random number made in a DIMM's file does not count, nor
// do free space and page structures. All else does.
func TestContents(t *testing.T) {
	dir := t.TempDir()
	d := file(8*mib, 128*kib)
	data := make([]byte, d.Size)
	area := data[d.Size-d.LabelSize:]
	if err := label.Init(area, label.V12); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := label.Add(area, label.Label{DPA: uint64(1+2*i) * mib, RawSize: 2 * mib}); err != nil {
			t.Fatal(err)
		}
	}
	const pfn, btt, old = 1*mib + 4*kib, 3*mib + 4*kib, 4 * mib
	copy(data[pfn:], "NVDIMM_PFN_INFO")
	copy(data[btt:], "BTT_ARENA_INFO")
	copy(data[old:], "BTT_ARENA_INFO")
	data[pfn+58] = 0x10 // data from 1 MiB on
	data[btt+114] = 0x1f
	seal := func() {
		for _, at := range []int{pfn, btt} {
			block := data[at : at+4*kib]
			sum := label.ChecksumOf(block, len(block)-8)
			for i := range 8 {
				block[len(block)-8+i] = byte(sum >> (8 * i))
			}
		}
	}
	contents := func() string {
		t.Helper()
		seal()
		if err := os.WriteFile(filepath.Join(dir, d.Path), data, 0o644); err != nil {
			t.Fatal(err)
		}
		text, err := d.contents(dir)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	was := contents()
	for _, tt := range []struct {
		what   string
		at     int
		counts bool
	}{
		{"free space before the namespaces", 5, false},
		{"free space behind them", 6 * mib, false},
		{"the start of a namespace", 1 * mib, true},
		{"the identifier of fsdax", pfn + 16, false},
		{"the namespace's in fsdax", pfn + 32, true},
		{"a page structure", pfn + 4*kib, false},
		{"data of fsdax", 2 * mib, true},
		{"the identifier of a BTT", btt + 31, false},
		{"the namespace's in a BTT", btt + 32, true},
		{"the identifier of a BTT that was there before", old + 16, false},
		{"the checksum over that", old + 4*kib - 1, false},
		{"data of a BTT", btt + 4*kib, true},
		{"the last of them", 5*mib - 1, true},
		{"the label area's last byte", 8*mib - 1, true},
	} {
		data[tt.at] ^= 1
		if now := contents(); (now != was) != tt.counts {
			t.Errorf("another byte in %s, at %#x: contents differ is %v, want %v", tt.what, tt.at, now != was, tt.counts)
		}
		data[tt.at] ^= 1
	}
}

// TestRecordsAreOfTests: a test that is gone or renamed leaves no record, and
// all records can be read.
func TestRecordsAreOfTests(t *testing.T) {
	want := map[string]bool{recordOf("quickstart"): true}
	for _, p := range pairs {
		want[recordOf(p.name)] = true
	}
	for _, visit := range []string{"QEMU first visit 1", "QEMU first visit 3", "nvlab first visit 2"} {
		want[recordOf("labels travel "+visit)] = true
	}
	files, err := filepath.Glob(recordOf("*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !want[file] {
			t.Errorf("%s is the record of no test", file)
		}
		if _, err := readSession(file); err != nil {
			t.Error(err)
		}
		delete(want, file)
	}
	for file := range want {
		t.Errorf("there is no %s: %s", file, renew)
	}
}
