package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrBroken says that what a mirror sent is not what the signed lists name.
var ErrBroken = errors.New("broken download")

// A FetchError says that a mirror could not be reached, or that it lacks a file.
type FetchError struct {
	URL string
	Err error
}

func (e *FetchError) Error() string { return "cannot fetch " + e.URL + ": " + e.Err.Error() }
func (e *FetchError) Unwrap() error { return e.Err }

// An absentError is the status of a file that a mirror does not have.
type absentError string

func (e absentError) Error() string        { return string(e) }
func (e absentError) Is(target error) bool { return target == fs.ErrNotExist }

const (
	attempts      = 3
	connectWithin = 20 * time.Second
	answerWithin  = 30 * time.Second
)

// stalledAfter is how long a transfer may stand still; tests set less.
var stalledAfter = 30 * time.Second

// A fetcher gets files from mirrors.
type fetcher struct {
	client *http.Client
}

func newFetcher(m *Mirrors) *fetcher {
	t := &http.Transport{
		Proxy:                 m.Proxy,
		DialContext:           (&net.Dialer{Timeout: connectWithin}).DialContext,
		TLSHandshakeTimeout:   connectWithin,
		ResponseHeaderTimeout: answerWithin,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       answerWithin,
		DisableCompression:    true, // sizes and offsets are those of the files
	}
	t.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return &fetcher{client: &http.Client{Transport: t}}
}

func (f *fetcher) close() { f.client.CloseIdleConnections() }

// request sends a request and returns an answer of status 200 or 206. What may
// pass is tried again.
func (f *fetcher) request(ctx context.Context, url string, from int64) (*http.Response, error) {
	var err error
	for n := range attempts {
		if n > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Duration(n) * time.Second / 2):
			}
		}
		var r *http.Request
		if r, err = http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err != nil {
			break
		}
		r.Header.Set("User-Agent", "nvlab")
		if from > 0 {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		}
		var resp *http.Response
		if resp, err = f.client.Do(r); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			var dns *net.DNSError
			if errors.As(err, &dns) && dns.IsNotFound || errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
			continue
		}
		switch s := resp.StatusCode; {
		case s == http.StatusOK, s == http.StatusPartialContent && from > 0:
			return resp, nil
		case s == http.StatusNotFound || s == http.StatusGone:
			resp.Body.Close()
			return nil, &FetchError{url, absentError(resp.Status)}
		case s < 500:
			resp.Body.Close()
			return nil, &FetchError{url, errors.New(resp.Status)}
		}
		resp.Body.Close()
		err = errors.New(resp.Status)
	}
	var wrapped interface{ Unwrap() error } // a *url.Error says the URL again
	if errors.As(err, &wrapped) && strings.Contains(err.Error(), url) {
		err = wrapped.Unwrap()
	}
	return nil, &FetchError{url, err}
}

// get fetches a small file into memory.
func (f *fetcher) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := f.request(ctx, url, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := readAll(&watched{r: resp.Body, cancel: cancel}, limit)
	if err != nil {
		return nil, f.lost(ctx, url, err)
	}
	return b, nil
}

// lost tells why a transfer ended early.
func (f *fetcher) lost(ctx context.Context, url string, err error) error {
	if parent := context.Cause(ctx); parent != nil && !errors.Is(err, errStalled) {
		return parent
	}
	return &FetchError{url, err}
}

// readAll reads no more than limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return b, err
}

// download fetches a file of known size and digest, and goes on where an
// earlier call was interrupted: name + ".part" holds what it has. progress is
// told of the bytes that came.
func (f *fetcher) download(ctx context.Context, url, name string, want digest, progress func(int64)) error {
	part := name + ".part"
	for range attempts {
		resumed, err := f.transfer(ctx, url, part, want.size, progress)
		if err != nil {
			var lost *interruptedError
			if errors.As(err, &lost) && ctx.Err() == nil {
				continue
			}
			return err
		}
		err = verify(part, filepath.Base(name), want)
		if err == nil {
			return os.Rename(part, name)
		}
		if err := os.Remove(part); err != nil {
			return err
		}
		if !resumed {
			return err
		}
	}
	return &FetchError{url, errors.New("the connection is lost again and again")}
}

// An interruptedError is a transfer that may be resumed.
type interruptedError struct{ error }

func (e *interruptedError) Unwrap() error { return e.error }

// transfer adds to a file what it lacks of so many bytes.
func (f *fetcher) transfer(ctx context.Context, url, part string, size int64, progress func(int64)) (resumed bool, err error) {
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer file.Close()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if have >= size {
		if have == size && size > 0 {
			return true, nil
		}
		have = 0
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := f.request(ctx, url, have)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent || !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
		have = 0
	}
	if err := file.Truncate(have); err != nil {
		return false, err
	}
	if _, err := file.Seek(have, io.SeekStart); err != nil {
		return false, err
	}
	body := &watched{r: resp.Body, cancel: cancel, progress: progress}
	n, err := io.Copy(file, io.LimitReader(body, size-have+1)) // one more shows that it is too long
	switch {
	case body.err != nil && body.err != io.EOF:
		return false, &interruptedError{f.lost(ctx, url, body.err)}
	case err != nil:
		return false, err // of the file
	case have+n < size:
		return false, &interruptedError{&FetchError{url, fmt.Errorf("it ends after %d of %d bytes", have+n, size)}}
	}
	return have > 0, file.Sync()
}

var errStalled = errors.New("nothing came for a while")

// watched is a body whose reading is given up when it stands still.
type watched struct {
	r        io.Reader
	cancel   context.CancelFunc
	progress func(int64)
	err      error
}

func (w *watched) Read(p []byte) (int, error) {
	var stalled atomic.Bool
	timer := time.AfterFunc(stalledAfter, func() { stalled.Store(true); w.cancel() })
	n, err := w.r.Read(p)
	if !timer.Stop() && stalled.Load() && err != nil {
		err = errStalled
	}
	if w.progress != nil && n > 0 {
		w.progress(int64(n))
	}
	w.err = err
	return n, err
}

// verify compares a file with what the signed lists say of it.
func verify(file, name string, want digest) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	if n != want.size {
		return fmt.Errorf("%w: %s has %d bytes; the signed lists say %d", ErrBroken, name, n, want.size)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.sha256 {
		return fmt.Errorf("%w: %s has SHA256 %s; the signed lists say %q", ErrBroken, name, got, want.sha256)
	}
	return nil
}
