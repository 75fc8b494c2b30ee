package gdb

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestReadPacket(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		interrupted    bool
		err            string
	}{
		{"a packet", "$g#67", "g", false, ""},
		{"acknowledgements first", "++$g#67", "g", false, ""},
		{"an empty one", "$#00", "", false, ""},
		{"an interrupt", "+\x03$g#67", "", true, ""},
		{"an escaped #", "$X0,1:}\x03#9f", "X0,1:#", false, ""},
		{"another sum", "$g#68", "", false, "checksum"},
		{"no sum", "$g#zz", "", false, "checksum"},
		{"an escape of nothing", "$}#7d", "", false, "checksum"},
		{"an end within a packet", "$qSup", "", false, "unexpected EOF"},
		{"an end within the sum", "$g#6", "", false, "unexpected EOF"},
		{"the end", "+", "", false, "EOF"},
		{"one that is too long", "$" + strings.Repeat("a", maxPacket+1), "", false, "more than 16384 bytes"},
	} {
		data, interrupted, err := readPacket(bufio.NewReader(strings.NewReader(c.in)))
		if got := ""; err != nil {
			if got = err.Error(); c.err == "" || !strings.Contains(got, c.err) {
				t.Errorf("%s: the error is %q, want %q", c.name, got, c.err)
			}
			continue
		}
		if c.err != "" || string(data) != c.want || interrupted != c.interrupted {
			t.Errorf("%s: %q, interrupted %v; want %q, %v and error %q", c.name, data, interrupted, c.want, c.interrupted, c.err)
		}
	}
}

// FuzzReadPacket: whatever comes, reading ends; and what was read, framed again,
// is read as the same.
func FuzzReadPacket(f *testing.F) {
	f.Add([]byte("+$qSupported:swbreak+#aa\x03$vCont;s:1;c#c1"))
	f.Add([]byte("$X0,1:}\x03#9f$g#68$"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		for range len(in) + 1 {
			data, interrupted, err := readPacket(r)
			if err == errChecksum || interrupted {
				continue
			}
			if err != nil {
				return
			}
			again, _, err := readPacket(bufio.NewReader(bytes.NewReader(appendPacket(nil, data))))
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%q, framed and read again: %q, %v", data, again, err)
			}
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Fatal("more packets than bytes")
		}
	})
}

// FuzzAnswer: no packet does more than be answered.
func FuzzAnswer(f *testing.F) {
	for _, p := range conversation {
		f.Add(p.packet)
	}
	f.Fuzz(func(t *testing.T, packet string) {
		m := newFake()
		n := newSession(&Server{}, nil)
		q := &query{session: n, target: m}
		reply, _ := q.answer(packet)
		if len(reply) > maxPacket+64 {
			t.Fatalf("%q is answered by %d bytes, more than a packet has", packet, len(reply))
		}
		if n.step >= m.CPUs() || n.thread >= m.CPUs() || n.thread < 0 {
			t.Fatalf("%q chose processor %d to step and %d to look at, of %d", packet, n.step, n.thread, m.CPUs())
		}
	})
}
