//go:build ignore

// Stress has Go's runtime at work on a kernel, and prints a checksum: its
// collector, preemption by signals, threads, timers, processes, and files in the
// current folder, read, written and mapped.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func need(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func random(state *uint64) uint64 {
	*state = *state*6364136223846793005 + 1442695040888963407
	return *state ^ *state>>29
}

// spins never call, so that only a signal takes the processor from them.
func spins(n int, v uint64) uint64 {
	for range n {
		v = v*2862933555777941757 + 3037000493
	}
	return v
}

func goroutines(h io.Writer, seed uint64) {
	var total, ticks atomic.Uint64
	stop := make(chan bool)
	go func() {
		tick := time.NewTicker(200 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				ticks.Add(1)
			case <-stop:
				return
			}
		}
	}()
	var wait sync.WaitGroup
	for i := range uint64(6) {
		wait.Go(func() { total.Add(spins(20000, seed+i)) })
	}
	wait.Wait()
	close(stop)
	binary.Write(h, binary.LittleEndian, total.Load())
}

func garbage(h io.Writer, seed uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	lists := map[uint64][]*uint64{}
	for range 3000 {
		v := random(&seed)
		p := new(uint64)
		*p = v
		lists[v%37] = append(lists[v%37], p)
		if len(lists[v%37]) > 20 {
			lists[v%37] = nil
		}
	}
	runtime.GC()
	var sum uint64
	for _, list := range lists {
		for i, p := range list {
			sum += *p * uint64(i+1)
		}
	}
	binary.Write(h, binary.LittleEndian, sum)
}

func files(h io.Writer, seed uint64) {
	const size = 64 << 10
	data := make([]byte, size)
	for i := 0; i < size; i += 8 {
		binary.LittleEndian.PutUint64(data[i:], random(&seed))
	}
	f, err := os.CreateTemp(".", "stress-")
	need(err)
	defer os.Remove(f.Name())
	defer f.Close()
	_, err = f.Write(data)
	need(err)
	need(f.Sync())
	m, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	need(err)
	for i := 3; i < size; i += 999 {
		m[i]++
		data[i]++
	}
	need(syscall.Munmap(m))
	got, err := os.ReadFile(f.Name())
	need(err)
	if !bytes.Equal(got, data) {
		need(fmt.Errorf("a file is not what was written, and stored through its mapping"))
	}
	fmt.Fprint(h, crc32.ChecksumIEEE(got))
}

func processes(h io.Writer, seed uint64) {
	var wait sync.WaitGroup
	outs := make([]string, 2)
	for i := range outs {
		wait.Go(func() {
			c := exec.Command("/proc/self/exe", "1", fmt.Sprint(seed+uint64(i)))
			c.Stdin = bytes.NewReader(bytes.Repeat([]byte("line\n"), 2000))
			out, err := c.Output()
			need(err)
			outs[i] = string(out)
		})
	}
	wait.Wait()
	fmt.Fprint(h, outs)
}

func signals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	defer signal.Stop(c)
	for range 5 {
		need(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
		<-c
	}
}

func main() {
	if len(os.Args) > 2 {
		in, err := io.ReadAll(os.Stdin)
		need(err)
		seed, _ := strconv.ParseUint(os.Args[2], 10, 64)
		fmt.Println(len(in), spins(1000, seed))
		return
	}
	rounds, _ := strconv.Atoi(os.Args[1])
	h := sha256.New()
	for round := range uint64(rounds) {
		goroutines(h, round)
		garbage(h, round)
		files(h, round)
		processes(h, round)
		signals()
	}
	fmt.Printf("%x\n", h.Sum(nil)[:8])
}
