package lab

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
	"time"
)

// consoleLimit bounds what is kept of a console; a guest that prints for ever
// must not fill the host.
const consoleLimit = 16 << 20

// A console keeps what a guest printed and watches for its kernel's last words.
type console struct {
	text    []byte
	line    int // where the unfinished line starts in text
	dropped bool
	booted  int // where the text of the latest boot that succeeded ends
	watch   faultWatch
	ends    []lineEnd // of lines, the first ones
	clock   func() time.Duration
	echo    io.Writer // where it goes besides, if anywhere
}

// A lineEnd is the end of a line.
type lineEnd struct {
	place int           // in the text, behind it
	at    time.Duration // the guest's clock
}

// endsLimit bounds how many lines have times.
const endsLimit = 200_000

// save returns what the console holds now.
func (c *console) save() console {
	s := *c
	s.echo, s.clock = nil, nil
	s.text = c.text[:len(c.text):len(c.text)] // it only grows
	s.ends = c.ends[:len(c.ends):len(c.ends)]
	s.watch = c.watch.save()
	return s
}

// load makes the console what another was when it was saved.
func (c *console) load(s console) {
	s.echo, s.clock = c.echo, c.clock
	s.watch = s.watch.save()
	*c = s
}

// Write keeps p.
func (c *console) Write(p []byte) (int, error) {
	n := len(p)
	if c.echo != nil {
		if _, err := c.echo.Write(p); err != nil {
			return 0, err
		}
	}
	if room := consoleLimit - len(c.text); len(p) > room {
		p, c.dropped = p[:room], true
	}
	c.text = append(c.text, p...)
	for {
		i := bytes.IndexByte(c.text[c.line:], '\n')
		if i < 0 {
			return n, nil
		}
		c.watch.line(stripTime(string(bytes.TrimRight(c.text[c.line:c.line+i], "\r"))))
		c.line += i + 1
		if c.clock != nil && len(c.ends) < endsLimit {
			c.ends = append(c.ends, lineEnd{c.line, c.clock()})
		}
	}
}

// replay writes what was printed before, with the times of its lines.
func (c *console) replay(text []byte, at []time.Duration) {
	n := len(c.ends)
	c.Write(text)
	for i := range c.ends[n:] {
		if i < len(at) {
			c.ends[n+i].at = at[i]
		}
	}
}

// endsSince are the times at which the lines ended that end behind a place.
func (c *console) endsSince(n int) (at []time.Duration) {
	i, _ := slices.BinarySearchFunc(c.ends, n+1, func(e lineEnd, n int) int { return cmp.Compare(e.place, n) })
	for _, e := range c.ends[i:] {
		at = append(at, e.at)
	}
	return at
}

// stripTime takes off printk's "[    0.123456] ".
func stripTime(line string) string {
	if rest, ok := strings.CutPrefix(line, "["); ok {
		if stamp, text, ok := strings.Cut(rest, "] "); ok && strings.Trim(stamp, " .0123456789TC][") == "" {
			return text
		}
	}
	return line
}

func (c *console) String() string {
	s := string(c.text)
	if c.dropped {
		s += "\n[nvlab: the console is cut here, after 16 MiB]\n"
	}
	return s
}

// sinceBoot is what was printed since the latest boot was over.
func (c *console) sinceBoot() string { return string(c.text[c.booted:]) }

// tail is the last n lines.
func (c *console) tail(n int) string {
	lines := strings.Split(strings.TrimRight(string(c.text), "\r\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, "\r")
	}
	return strings.Join(lines, "\n")
}

// reset forgets the fault seen, when a new boot begins.
func (c *console) reset() { c.watch = faultWatch{} }
