package gdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxPacket bounds what a packet holds, in bytes; gdb is told.
const maxPacket = 0x4000

// interrupt is the byte outside of packets that asks the target to stop.
const interrupt = 3

// errChecksum says that a packet did not arrive as it was sent.
var errChecksum = errors.New("checksum")

// readPacket reads up to the end of the next packet: $DATA#SUM, with DATA's
// escapes and SUM two hexadecimal digits (GDB manual, "Overview" of the remote
// protocol). Before it there may be acknowledgements, which are passed over,
// and the byte of an interrupt: it is what then is returned, alone. A packet with a
// wrong sum is errChecksum, and what follows it can be read; any other error is the
// reader's, or of a packet that is too long.
func readPacket(r *bufio.Reader) (data []byte, interrupted bool, err error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, false, err
		}
		if b == interrupt {
			return nil, true, nil
		}
		if b == '$' {
			break
		}
	}
	var sum byte
	escaped := false
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, false, unexpected(err)
		}
		if b == '#' {
			break
		}
		if len(data) == maxPacket {
			return nil, false, fmt.Errorf("a packet of more than %d bytes", maxPacket)
		}
		sum += b
		switch {
		case escaped:
			data, escaped = append(data, b^0x20), false
		case b == '}':
			escaped = true
		default:
			data = append(data, b)
		}
	}
	var want [2]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return nil, false, unexpected(err)
	}
	hi, lo := nibble(want[0]), nibble(want[1])
	if hi < 0 || lo < 0 || byte(hi<<4|lo) != sum || escaped {
		return nil, false, errChecksum
	}
	return data, false, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendPacket frames data as a packet.
func appendPacket(p, data []byte) []byte {
	p = append(p, '$')
	var sum byte
	for _, b := range data {
		if b == '$' || b == '#' || b == '}' || b == '*' {
			p = append(p, '}')
			sum += '}'
			b ^= 0x20
		}
		p = append(p, b)
		sum += b
	}
	return fmt.Appendf(p, "#%02x", sum)
}

func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// words reads what packets are made of.
type words struct{ rest string }

// hex reads a hexadecimal number of at most 16 digits, and says that there was
// one.
func (w *words) hex() (n uint64, ok bool) {
	i := 0
	for ; i < len(w.rest) && nibble(w.rest[i]) >= 0; i++ {
		if i == 16 {
			return 0, false
		}
		n = n<<4 | uint64(nibble(w.rest[i]))
	}
	w.rest = w.rest[i:]
	return n, i > 0
}

// skip passes over s, and says that it was there.
func (w *words) skip(s string) bool {
	if len(w.rest) < len(s) || w.rest[:len(s)] != s {
		return false
	}
	w.rest = w.rest[len(s):]
	return true
}

// span reads ADDR,LENGTH.
func (w *words) span() (addr, n uint64, ok bool) {
	addr, ok = w.hex()
	if !ok || !w.skip(",") {
		return 0, 0, false
	}
	n, ok = w.hex()
	return addr, n, ok
}
