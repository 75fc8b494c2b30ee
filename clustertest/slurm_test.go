// Package clustertest runs nvlab's shards on what runs them elsewhere: Slurm, on
// this host alone.
package clustertest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"nvlab/internal/require"
)

// A cluster is a Slurm of one node: munged, slurmctld and slurmd, which listen
// on the loopback address.
type cluster struct {
	dir string
	env []string
}

// daemon starts a program that stays in the foreground, and ends it with the
// test.
func (c *cluster) daemon(t *testing.T, ready func() bool, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = c.env
	log, err := os.Create(filepath.Join(c.dir, filepath.Base(name)+".out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s:\n%s", name, text)
		}
	})
	for start := time.Now(); !ready(); time.Sleep(100 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("%s ended at once", name)
		default:
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("%s is not ready after a minute", name)
		}
	}
}

// run runs a client.
func (c *cluster) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (c *cluster) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ports are free ones.
func ports(t *testing.T, n int) (list []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		list = append(list, l.Addr().(*net.TCPAddr).Port)
	}
	return list
}

// start starts a cluster with n processors, as far as Slurm is to know.
func start(t *testing.T, n int) *cluster {
	t.Helper()
	tools := map[string]string{}
	for _, name := range []string{"munged", "slurmctld", "slurmd", "sbatch"} {
		path, err := exec.LookPath(name)
		if err != nil {
			if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
				require.Missing(t, "SLURM", "no %s: it is in Debian's slurm-wlm and munge", name)
			}
		}
		tools[name] = path
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	dir := t.TempDir()
	c := &cluster{dir: dir, env: append(os.Environ(), "SLURM_CONF="+filepath.Join(dir, "slurm.conf"))}
	key := make([]byte, 128)
	rand.Read(key)
	port := ports(t, 2)
	socket := filepath.Join(dir, "munge.socket")
	for name, text := range map[string]string{
		"munge.key":   string(key),
		"cgroup.conf": "CgroupAutomount=no\n",
		"slurm.conf": fmt.Sprintf(`ClusterName=nvlab
SlurmctldHost=%[1]s(127.0.0.1)
SlurmctldPort=%[2]d
SlurmdPort=%[3]d
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket=%[4]s,cred_expire=5
CredType=cred/munge
SlurmUser=%[5]s
SlurmdUser=%[5]s
StateSaveLocation=%[6]s/state
SlurmdSpoolDir=%[6]s/spool
SlurmctldPidFile=%[6]s/slurmctld.pid
SlurmdPidFile=%[6]s/slurmd.pid
SlurmctldLogFile=%[6]s/slurmctld.log
SlurmdLogFile=%[6]s/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
ReturnToService=2
NodeName=%[1]s NodeAddr=127.0.0.1 CPUs=%[7]d State=UNKNOWN
PartitionName=all Nodes=%[1]s Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
SlurmdParameters=config_overrides
`, host, port[0], port[1], socket, me.Username, dir, n),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"state", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.daemon(t, func() bool { _, err := os.Stat(socket); return err == nil }, tools["munged"], "--foreground", "--force",
		"--socket="+socket, "--key-file="+filepath.Join(dir, "munge.key"), "--pid-file="+filepath.Join(dir, "munged.pid"),
		"--log-file="+filepath.Join(dir, "munged.log"), "--seed-file="+filepath.Join(dir, "munged.seed"))
	answers := func() bool { _, err := c.try("scontrol", "ping"); return err == nil }
	c.daemon(t, answers, tools["slurmctld"], "-D", "-i")
	idle := func() bool { out, _ := c.try("sinfo", "-h", "-o", "%T"); return strings.Contains(out, "idle") }
	c.daemon(t, idle, tools["slurmd"], "-D", "-N", host)
	loopbackOnly(t, port)
	return c
}

// loopbackOnly looks at who listens on ports (proc(5), /proc/net/tcp).
func loopbackOnly(t *testing.T, ports []int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range ports {
		at := fmt.Sprintf(":%04X", port)
		found := false
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[1], at) && f[3] == "0A" {
				if found = true; f[1] != "0100007F"+at {
					t.Errorf("port %d is listened on at %s, not on the loopback address", port, f[1])
				}
			}
		}
		if !found {
			t.Errorf("nobody listens on port %d", port)
		}
	}
}

// script is the job of docs/scale.md.
func script(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```sh\n(#!/bin/sh\n#SBATCH.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/scale.md has no script for sbatch")
	}
	return string(m[1])
}

// TestSlurm runs the scenarios of a folder as a job array of eight tasks, of
// which one is killed and taken up again. The merged report is that of one run,
// and without one of the shards there is none.
func TestSlurm(t *testing.T) {
	c := start(t, 2)
	nvlab := filepath.Join(c.dir, "nvlab")
	if out, err := exec.Command("go", "build", "-o", nvlab, "../cmd/nvlab").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	c.env = append(c.env, "PATH="+c.dir+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+filepath.Join(c.dir, "cache"))
	scenarios := filepath.Join(c.dir, "scenarios")
	if err := os.Mkdir(scenarios, 0o755); err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for i := range 19 {
		fmt.Fprintf(&tests, "def test_%d(t):\n    t.log(%d)\n    check.lt(%d, 17)\n\n", i, i, i)
	}
	// One takes some seconds, in which it can be killed: the first of task 3.
	slow := strings.Replace(tests.String(), "def test_3(t):\n", "def test_3(t):\n    for _ in range(60 * 1000 * 1000):\n        pass\n", 1)
	for name, text := range map[string]string{"scenarios/x.star": slow, "job.sh": script(t)} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	job := c.run(t, "sbatch", "--parsable", "job.sh")
	state := func(task string) string {
		out, _ := c.try("scontrol", "-o", "show", "job", job+"_"+task)
		m := regexp.MustCompile(`JobState=(\w+)`).FindStringSubmatch(out)
		if m == nil {
			return ""
		}
		return m[1]
	}
	await := func(what string, done func() bool) {
		t.Helper()
		for start := time.Now(); !done(); time.Sleep(100 * time.Millisecond) {
			if time.Since(start) > 3*time.Minute {
				out, _ := c.try("scontrol", "show", "jobs")
				logs, _ := filepath.Glob(filepath.Join(c.dir, "slurm-*.out"))
				for _, path := range logs {
					text, _ := os.ReadFile(path)
					out += path + ":\n" + string(text)
				}
				t.Fatalf("after 3 minutes there is no %s\n%s", what, out)
			}
		}
	}
	shard := func(i int) string { return filepath.Join(c.dir, fmt.Sprintf("shard.%d.json", i)) }
	var pid int
	await("task 3 in its slow test", func() bool {
		text, _ := os.ReadFile(filepath.Join(c.dir, "part.3"))
		if !bytes.Contains(text, []byte("RUN   test_3")) {
			return false
		}
		pid = writerOf(filepath.Join(c.dir, "part.3"))
		return pid > 0
	})
	if err := killHard(pid); err != nil {
		t.Fatal(err)
	}
	await("failure of task 3", func() bool { return state("3") == "FAILED" })
	if _, err := os.Stat(shard(3)); err == nil {
		t.Error("the task that was killed left a stream under the name of one that ended")
	}
	all := func(but int) (files []string) {
		for i := range 8 {
			if i != but {
				files = append(files, shard(i))
			}
		}
		return files
	}
	await("end of the other tasks", func() bool {
		for _, path := range all(3) {
			if _, err := os.Stat(path); err != nil {
				return false
			}
		}
		return true
	})
	merge := func(files ...string) (string, int) {
		cmd := exec.Command(nvlab, append([]string{"merge"}, files...)...)
		cmd.Dir, cmd.Env = c.dir, c.env
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, status := merge(all(3)...); status != 2 || !strings.Contains(out, "missing: shard 4/8") {
		t.Errorf("merge without task 3 has status %d and says %q", status, out)
	}
	c.run(t, "scontrol", "requeue", job+"_3")
	await("end of task 3", func() bool { _, err := os.Stat(shard(3)); return err == nil })

	cmd := exec.Command(nvlab, "run", "scenarios")
	cmd.Dir, cmd.Env = c.dir, c.env
	one, _ := cmd.CombinedOutput()
	merged, status := merge(all(-1)...)
	if status != 1 || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("merge has status %d, one run %d; want 1, as two tests fail", status, cmd.ProcessState.ExitCode())
	}
	if got, want := timeless(merged), timeless(string(one)); got != want {
		t.Errorf("the merged report is\n%s\nthat of one run is\n%s", got, want)
	}
}

// timeless is a report without times and the folders of what failed.
func timeless(text string) string {
	text = regexp.MustCompile(`(?m)^ *artifacts: .*\n|, artifacts in .*`).ReplaceAllString(text, "")
	return regexp.MustCompile(`\d+\.\d+s`).ReplaceAllString(text, "TIME")
}

// writerOf is the nvlab that has a file open, 0 if there is none.
func writerOf(path string) int {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/1")
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != path {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "nvlab" {
			return pid
		}
	}
	return 0
}

func killHard(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
