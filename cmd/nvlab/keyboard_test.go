package main

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// TestKeyboard: what comes after a reader's time is the next one's, and who reads lines
// reads no further.
func TestKeyboard(t *testing.T) {
	in, typist := io.Pipe()
	k := &keyboard{in: in}
	over := make(chan struct{})
	gaveUp := make(chan error)
	go func() {
		_, err := k.until(over).Read(make([]byte, 10))
		gaveUp <- err
	}()
	close(over)
	if err := <-gaveUp; err != errOver {
		t.Errorf("a reader whose time is over got the error %v, want %v", err, errOver)
	}
	go func() {
		typist.Write([]byte("one\rtwo\nrest"))
		typist.Close()
	}()
	lines := bufio.NewReader(k.lines())
	for _, end := range []byte{'\r', '\n'} {
		if _, err := lines.ReadString(end); err != nil || lines.Buffered() > 0 {
			t.Errorf("after the line that ends in %q there are %d bytes more in hand (error %v), want none", end, lines.Buffered(), err)
		}
	}
	rest, err := io.ReadAll(k.until(nil))
	if err != nil || string(rest) != "rest" {
		t.Errorf("the next reader gets %q (error %v), want %q", rest, err, "rest")
	}
	if _, err := k.lines().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end of the input the error is %v, want that it is the end", err)
	}
	if _, err := io.ReadAll((&keyboard{in: strings.NewReader("")}).lines()); err != nil {
		t.Errorf("an empty input gives the error %v, want none", err)
	}
}
