package lab

import (
	"bytes"
	"io"
	"strings"
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
	echo    io.Writer // where it goes besides, if anywhere
}

// save returns what the console holds now.
func (c *console) save() console {
	s := *c
	s.echo = nil
	s.text = c.text[:len(c.text):len(c.text)] // it only grows
	s.watch = c.watch.save()
	return s
}

// load makes the console what another was when it was saved.
func (c *console) load(s console) {
	s.echo = c.echo
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
	}
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
