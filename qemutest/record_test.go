package qemutest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"nvlab/internal/require"
	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/label"
)

// recordOf is the file of a recorded session.
func recordOf(name string) string {
	return filepath.Join("testdata", "record", strings.ReplaceAll(name, " ", "-")+".json")
}

// renew is what makes records anew.
const renew = "NVLAB_UPDATE=1 go test ./qemutest makes it anew"

// An observer does to a machine of one side what a test does, with the DIMMs'
// files in dir, and returns what it observed.
type observer func(l launcher, dir string) (facts, error)

// fromQEMU returns a function that observes a machine of QEMU's and leaves the
// DIMMs' files in dir. The answers are the recorded ones if the record is of
// this guest, these DIMMs and these calls, and of this QEMU where one is
// installed. Otherwise QEMU runs, and the test is skipped where that is absent.
//
// With NVLAB_REQUIRE_QEMU=1 QEMU always runs, and the facts that come of the
// record have to equal those of QEMU: it is an error if they do not, or if the
// record is of other DIMMs or calls. A record of another QEMU or guest is no
// error: a new package of Debian is no fault of a change. NVLAB_UPDATE=1 writes
// the record, unless its facts are the same.
func fromQEMU(t *testing.T, name, dir string, observe observer) func() (facts, error) {
	t.Helper()
	file := recordOf(name)
	update, hold := os.Getenv("NVLAB_UPDATE") != "", os.Getenv("NVLAB_REQUIRE_QEMU") == "1"
	played := dir
	if update || hold {
		needQEMU(t)
		played = t.TempDir()
		if err := os.CopyFS(played, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	here, err := thisHost()
	if err != nil {
		t.Fatal(err)
	}
	recorded, unfit := playback(file, here, played, observe)
	switch {
	case update || hold:
	case unfit == nil:
		return func() (facts, error) { return recorded, nil }
	case !errors.As(unfit, new(*misfit)):
		t.Fatalf("%v: %s", unfit, renew)
	default:
		if _, err := exec.LookPath(Program); err != nil {
			require.Missing(t, "QEMU", "%s is not there (Debian package qemu-system-x86), and its record does not fit: %v; where QEMU is, %s", Program, unfit, renew)
		}
		t.Logf("QEMU runs, as its record does not fit: %v; %s", unfit, renew)
	}
	return func() (facts, error) {
		l, r := onQEMU, &recorder{here: here, launch: startQEMU}
		if update {
			l.start = r.start
		}
		observed, err := observe(l, dir)
		if err != nil {
			return nil, err
		}
		if unfit == nil {
			unfit = sameFacts(file, observed, recorded)
		}
		var m *misfit
		switch {
		case unfit == nil:
		case update:
			return observed, r.session.save(file)
		case hold && errors.As(unfit, &m) && m.host:
			t.Logf("the record is not held to QEMU: %v; %s", unfit, renew)
		case hold:
			return nil, fmt.Errorf("%w: %s", unfit, renew)
		}
		return observed, nil
	}
}

// sameFacts says what a record has otherwise than QEMU, if anything.
func sameFacts(file string, qemu, record facts) error {
	list := differences(qemu, record)
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s = %q, and QEMU has %q; %d more facts differ", file, list[0].fact, record[list[0].fact], list[0].qemu, len(list)-1)
}

// playback observes a recorded machine.
func playback(file string, here host, dir string, observe observer) (facts, error) {
	s, err := readSession(file)
	if err != nil {
		return nil, err
	}
	p := &player{session: s, here: here, file: file}
	f, err := observe(launcher{onQEMU.name, p.start, onQEMU.places}, dir)
	if p.err != nil {
		return nil, p.err // whatever became of it
	}
	return f, err
}

// A session is a machine of QEMU's from power-on to power-off: what its
// answers are a function of, and they.
type session struct {
	host
	Machine  []string          // the arguments
	Contents map[string]string `json:",omitempty"` // of files that were there before, by name: see contents
	Calls    []call
	Files    map[string]image `json:",omitempty"` // at power-off, by name
}

// A host is what a record needs of it.
type host struct {
	QEMU  string // the first line of --version; "" where it is absent
	Guest string // its name, and hashes of its files
}

var thisHost = sync.OnceValues(func() (h host, err error) {
	g, err := stockGuest()
	if err != nil {
		return h, err
	}
	h.Guest = g.Name + " " + g.Manifest.Content
	for _, file := range slices.Sorted(maps.Keys(g.Manifest.Archives)) {
		h.Guest += " " + file + " " + g.Manifest.Archives[file].SHA256
	}
	if _, err := exec.LookPath(Program); err != nil {
		return h, nil
	}
	text, err := exec.Command(Program, "--version").Output()
	h.QEMU, _, _ = strings.Cut(string(text), "\n")
	return h, err
})

// A call is a method of a side, its arguments and its answer.
type call struct {
	Method         string
	Argument       lines          `json:",omitempty"`
	Status         int            `json:",omitempty"`
	Stdout, Stderr lines          `json:",omitempty"`
	Data           []byte         `json:",omitempty"`
	Devices        []MemoryDevice `json:",omitempty"`
	Error          string         `json:",omitempty"`
}

func (c *call) err() error {
	if c.Error == "" {
		return nil
	}
	return errors.New(c.Error)
}

// lines is a text, a list of lines in JSON.
type lines string

func (l lines) MarshalJSON() ([]byte, error) { return marshal(strings.Split(string(l), "\n"), "") }

func (l *lines) UnmarshalJSON(text []byte) error {
	var list []string
	err := json.Unmarshal(text, &list)
	*l = lines(strings.Join(list, "\n"))
	return err
}

// marshal writes <, > and & as they are.
func marshal(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}

// readSession reads a session. What is not there fits nothing.
func readSession(file string) (*session, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &misfit{text: file + " is not there"}
	}
	if err != nil {
		return nil, err
	}
	s := &session{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", file, err)
	}
	for name, i := range s.Files {
		if _, err := i.rows(); err != nil {
			return nil, fmt.Errorf("%s is damaged: %s: %w", file, name, err)
		}
	}
	return s, nil
}

func (s *session) save(file string) error {
	text, err := marshal(s, "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	again, err := readSession(file)
	if err == nil && !reflect.DeepEqual(again, s) {
		err = fmt.Errorf("%s does not hold what was recorded: is an answer no UTF-8?", file)
	}
	return err
}

// A misfit is a record of something else.
type misfit struct {
	text string
	host bool // another QEMU or guest, which is no matter of the test
}

func (m *misfit) Error() string { return m.text }

// newSession is a session without calls, with the files of o's DIMMs in dir.
func newSession(here host, o Options, dir string) (*session, error) {
	o = o.forQEMU()
	o.Kernel, o.Initrd = "kernel", "initrd"
	s := &session{host: here, Machine: o.args()}
	for _, d := range o.DIMMs {
		text, err := d.contents(dir)
		if err != nil {
			return nil, err
		}
		if text != "" {
			s.Contents = with(s.Contents, d.Path, text)
		}
	}
	return s, nil
}

// with sets a key of a map, which may be nil: JSON has no empty ones.
func with[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// fits says why a record is not that of a session which begins.
func (s *session) fits(now *session) *misfit {
	other := func(what, recorded, here string) *misfit {
		recorded, here = apart(recorded, here)
		return &misfit{text: fmt.Sprintf("it is of another %s: %q, here %q", what, recorded, here)}
	}
	switch {
	case now.QEMU != "" && s.QEMU != now.QEMU:
		m := other("QEMU", s.QEMU, now.QEMU)
		m.host = true
		return m
	case s.Guest != now.Guest:
		m := other("guest", s.Guest, now.Guest)
		m.host = true
		return m
	case !slices.Equal(s.Machine, now.Machine):
		return other("machine", strings.Join(s.Machine, " "), strings.Join(now.Machine, " "))
	}
	all := map[string]string{}
	maps.Copy(all, s.Contents)
	maps.Copy(all, now.Contents)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if was, is := s.Contents[name], now.Contents[name]; was != is {
			return other("contents of "+name, cmp.Or(was, "none"), cmp.Or(is, "none"))
		}
	}
	return nil
}

// apart cuts texts to where they differ, and a little around.
func apart(a, b string) (string, string) {
	const before, most = 20, 80 // bytes
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	n = max(n-before, 0)
	return a[n:min(n+most, len(a))], b[n:min(n+most, len(b))]
}

// A recorder is a machine of QEMU's whose session is kept.
type recorder struct {
	side
	*session
	here   host
	launch func(context.Context, Options, string) (side, error)
	dir    string
	dimms  []DIMM // in no folder
}

func (r *recorder) start(ctx context.Context, o Options, dir string) (_ side, err error) {
	r.dir, r.dimms = dir, slices.Clone(o.DIMMs)
	if r.session, err = newSession(r.here, o, dir); err != nil {
		return nil, err
	}
	r.side, err = r.launch(ctx, o, dir)
	return r, err
}

func (r *recorder) keep(c call, err error) error {
	if err != nil {
		c.Error = err.Error()
	}
	r.Calls = append(r.Calls, c)
	return err
}

func (r *recorder) Run(command string) (status int, stdout, stderr string, err error) {
	status, stdout, stderr, err = r.side.Run(command)
	return status, stdout, stderr, r.keep(call{Method: "Run", Argument: lines(command), Status: status, Stdout: lines(stdout), Stderr: lines(stderr)}, err)
}

func (r *recorder) ReadFile(path string) ([]byte, error) {
	data, err := r.side.ReadFile(path)
	return data, r.keep(call{Method: "ReadFile", Argument: lines(path), Data: data}, err)
}

func (r *recorder) MemoryDevices() ([]MemoryDevice, error) {
	list, err := r.side.MemoryDevices()
	return list, r.keep(call{Method: "MemoryDevices", Devices: list}, err)
}

func (r *recorder) Plug(d DIMM) error {
	argument, err := d.argument(r.dir)
	if err != nil {
		return err
	}
	r.dimms = append(r.dimms, d)
	return r.keep(call{Method: "Plug", Argument: argument}, r.side.Plug(d))
}

func (r *recorder) PowerOff() error {
	err := r.keep(call{Method: "PowerOff"}, r.side.PowerOff())
	for _, d := range r.dimms {
		if d.Path == "" || err != nil {
			continue
		}
		var i image
		i, err = d.image(r.dir)
		r.Files = with(r.Files, d.Path, i)
	}
	return err
}

// A player is a machine that answers as a recorded one did. The files are
// as they were until power-off.
type player struct {
	*session
	here  host
	file  string // the record's
	dir   string
	dimms []DIMM // in no folder
	next  int    // call
	err   error  // why this is another session; it stays
}

func (p *player) start(_ context.Context, o Options, dir string) (side, error) {
	p.dir, p.dimms = dir, slices.Clone(o.DIMMs)
	now, err := newSession(p.here, o, dir)
	if err != nil {
		return nil, err
	}
	if m := p.fits(now); m != nil {
		return nil, p.other(m)
	}
	return p, nil
}

func (p *player) other(m *misfit) error {
	m.text = p.file + ": " + m.text
	p.err = m
	return m
}

// answer is the next call, if it is this one.
func (p *player) answer(method string, argument lines) (*call, error) {
	if p.err != nil {
		return nil, p.err
	}
	was := call{Method: "none"}
	if p.next < len(p.Calls) {
		was = p.Calls[p.next]
	}
	p.next++
	if was.Method != method || was.Argument != argument {
		recorded, here := apart(was.Method+" "+string(was.Argument), method+" "+string(argument))
		return nil, p.other(&misfit{text: fmt.Sprintf("call %d is another: %q, here %q", p.next, recorded, here)})
	}
	return &was, nil
}

func (p *player) Run(command string) (status int, stdout, stderr string, err error) {
	c, err := p.answer("Run", lines(command))
	if err != nil {
		return 0, "", "", err
	}
	return c.Status, string(c.Stdout), string(c.Stderr), c.err()
}

func (p *player) ReadFile(path string) ([]byte, error) {
	c, err := p.answer("ReadFile", lines(path))
	if err != nil {
		return nil, err
	}
	return c.Data, c.err()
}

func (p *player) MemoryDevices() ([]MemoryDevice, error) {
	c, err := p.answer("MemoryDevices", "")
	if err != nil {
		return nil, err
	}
	return c.Devices, c.err()
}

func (p *player) Plug(d DIMM) error {
	argument, err := d.argument(p.dir)
	if err != nil {
		return err
	}
	p.dimms = append(p.dimms, d)
	c, err := p.answer("Plug", argument)
	if err != nil {
		return err
	}
	return c.err()
}

func (p *player) PowerOff() error {
	c, err := p.answer("PowerOff", "")
	if err != nil {
		return err
	}
	if p.next < len(p.Calls) {
		return p.other(&misfit{text: fmt.Sprintf("call %d is %s, here none", p.next+1, p.Calls[p.next].Method)})
	}
	for _, d := range p.dimms {
		if d.Path == "" {
			continue
		}
		i, ok := p.Files[d.Path]
		if !ok {
			return fmt.Errorf("%s is damaged: it has no %s at power-off", p.file, d.Path)
		}
		if err := i.write(filepath.Join(p.dir, d.Path)); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
	}
	return c.err()
}

func (p *player) Close() error { return nil }

// argument is the DIMM as QEMU is given it, and what its file holds.
func (d DIMM) argument(dir string) (lines, error) {
	text, err := d.contents(dir)
	return lines(keyValues(d.backend()) + "\n" + keyValues(d.device()) + "\n" + cmp.Or(text, "no file")), err
}

// An image is what a DIMM's file holds of labels, namespaces and their data.
// All else is zero: free space, and page structures, which are full of the
// kernel's pointers and made anew at every boot.
type image struct {
	Size int64    // bytes
	Rows []string `json:",omitempty"` // 16 bytes that are not all zero: offset, in hexadecimal, and they
}

// A row is 16 bytes, or less at the end of the file.
type row struct {
	at    int64
	bytes []byte
}

func (r row) String() string { return fmt.Sprintf("%09x %x", r.at, r.bytes) }

const rowSize = 16

var zeros [rowSize]byte

func (i image) rows() (list []row, err error) {
	for _, text := range i.Rows {
		at, data, _ := strings.Cut(text, " ")
		var r row
		r.at, err = strconv.ParseInt(at, 16, 64)
		if err == nil {
			r.bytes, err = hex.DecodeString(data)
		}
		if n := int64(len(r.bytes)); err == nil && (n == 0 || r.at < 0 || i.Size < n || r.at > i.Size-n) {
			err = fmt.Errorf("it is not within %d bytes", i.Size)
		}
		if err != nil {
			return nil, fmt.Errorf("row %q: %w", text, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// write makes the file.
func (i image) write(path string) error {
	list, err := i.rows()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(i.Size); err != nil {
		return err
	}
	for _, r := range list {
		if _, err := f.WriteAt(r.bytes, r.at); err != nil {
			return err
		}
	}
	return f.Close()
}

// image reads the DIMM's file.
func (d DIMM) image(dir string) (image, error) {
	size, list, err := d.rows(dir, false)
	i := image{Size: size}
	for _, r := range list {
		i.Rows = append(i.Rows, r.String())
	}
	return i, err
}

// contents is a hash of the canonical rows of the DIMM's file, or "" if it is
// not there.
func (d DIMM) contents(dir string) (string, error) {
	if d.Path == "" {
		return "", nil
	}
	size, list, err := d.rows(dir, true)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	h := sha256.New()
	fmt.Fprintln(h, size)
	for _, r := range list {
		fmt.Fprintln(h, r)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// addImage makes a fact of each canonical row of the DIMM's file.
func (f facts) addImage(d DIMM, dir string, handle int) error {
	_, list, err := d.rows(dir, true)
	for _, r := range list {
		f[fmt.Sprintf("file@%d/%09x", handle, r.at)] = hex.EncodeToString(r.bytes)
	}
	return err
}

// rows are what counts of the DIMM's file, and its size: see image. Canonical
// ones are without what a random number made: the identifiers in info blocks,
// also in those that a namespace left which was there before, and the checksums
// over them.
func (d DIMM) rows(dir string, canonical bool) (size int64, list []row, err error) {
	file, err := os.Open(filepath.Join(dir, d.Path))
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, nil, err
	}
	size = info.Size()
	add := func(at, end int64) {
		buf := make([]byte, 64*kib) // whole info blocks, and rows
		for ; at < end && err == nil; at += int64(len(buf)) {
			part := buf[:min(int64(len(buf)), end-at)]
			if _, err = file.ReadAt(part, at); err == nil {
				list = appendRows(list, at, part, canonical)
			}
		}
	}
	namespaces, area, err := d.namespaces(dir, size)
	if err != nil {
		return 0, nil, err
	}
	for _, n := range namespaces {
		at := n.at
		for _, s := range infoblock.Read(io.NewSectionReader(file, n.at, n.end-n.at)).Spans {
			if strings.HasSuffix(s.Name, ".pages") {
				add(at, n.at+int64(s.Offset))
				at = n.at + int64(s.Offset+s.Length)
			}
		}
		add(at, n.end)
	}
	add(area.at, area.end)
	return size, list, err
}

// An extent is a part of a file, in bytes from its start.
type extent struct{ at, end int64 }

// namespaces are those that the label area of the DIMM's file has, by address,
// and the area; or the whole file, where there is no area.
func (d DIMM) namespaces(dir string, size int64) (list []extent, area extent, err error) {
	if d.LabelSize == 0 || d.LabelSize > uint64(size) {
		return []extent{{0, size}}, extent{}, nil
	}
	text, err := d.in(dir).labels()
	if err != nil {
		return nil, extent{}, err
	}
	area = extent{size - int64(d.LabelSize), size}
	for _, l := range label.Parse(text).Active {
		if most := uint64(area.at); l.DPA < most && l.RawSize <= most-l.DPA {
			list = append(list, extent{int64(l.DPA), int64(l.DPA + l.RawSize)})
		}
	}
	slices.SortFunc(list, func(a, b extent) int { return cmp.Compare(a.at, b.at) })
	return list, area, nil
}

// appendRows appends the rows of a part of a file, which begins where info
// blocks may.
func appendRows(list []row, at int64, part []byte, canonical bool) []row {
	if bytes.Count(part, zeros[:1]) == len(part) {
		return list
	}
	for block := range slices.Chunk(part, infoblock.Size) {
		if canonical && len(block) == infoblock.Size && infoblock.Begins(block) {
			clear(block[16:32])
			clear(block[infoblock.Size-8:])
		}
		for b := range slices.Chunk(block, rowSize) {
			if !bytes.Equal(b, zeros[:len(b)]) {
				list = append(list, row{at, bytes.Clone(b)})
			}
			at += int64(len(b))
		}
	}
	return list
}
