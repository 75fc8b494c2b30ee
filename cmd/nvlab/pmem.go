package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"nvlab/internal/spell"
	"nvlab/internal/units"
	nvstar "nvlab/starlark"
	nvrun "nvlab/starlark/run"
)

var pmemCommand = &command{
	name:  "pmem",
	args:  "[flags] PROGRAM [ARG...]",
	short: "test a program that keeps data in persistent memory",
	long: `Runs a program in a guest that has an NVDIMM, and reports stores that nothing made
durable before it ended: the function and line, how many, and what they lack. With
--check it then takes the power away at every moment that matters, and runs the
check in a guest at each state that may be left: a check that does not end with
status 0 is a finding, with the fewest stores that have to be lost for it. One that
fails where nothing is lost, before the program or after it, is an error.

A PROGRAM with a slash in its name is one of the host, which comes to the guest's
/tmp with its libraries; without, it is one of the guest's, or of --package. Flags
come before it. {} in its arguments, and in the commands of --setup and --check,
is where the persistent memory is: the folder /mnt, on ext4 with DAX; with --on devdax
the device /dev/dax0.0; with --on pool a libpmemobj pool, which pmempool made. These
commands run in the guest's /tmp, so that they find ./PROGRAM there, too:

  nvlab pmem --check './store verify {}/log' ./store append {}/log

All of it is a scenario, which --print-scenario prints for you to keep and change.

exit status: that of nvlab run; 1 if there is anything to report`,
}

// pmemBody is the scenario, but for what the flags say.
//
//go:embed pmem.star
var pmemBody string

// pmemOptions are what the scenario begins with.
type pmemOptions struct {
	on, size, memory string
	platform, policy string
	libraries        string
	check            string
	setup, push      list
	packages, ignore list
	atomic           bool
	depth, limit     int
	budget, timeout  time.Duration
	printScenario    bool
	program          []string
	delivery         delivery
	layout           string
}

func init() {
	pmemCommand.run = func(ctx context.Context, c *command, args []string) int {
		o := nvrun.Options{Stdout: os.Stdout, Stderr: os.Stderr, Progress: progress(), Verbose: true, Reuse: reuseDefault()}
		o.Terminal, o.Coloured = screen()
		var p pmemOptions
		fs := c.flags()
		fs.StringVar(&p.on, "on", "fsdax", "`fsdax|devdax|pool`: what the persistent memory is")
		fs.StringVar(&p.layout, "layout", "", "`NAME` of the layout of --on pool")
		fs.StringVar(&p.size, "size", "64MiB", "`SIZE` of the NVDIMM, a multiple of 16 MiB")
		fs.StringVar(&p.memory, "memory", "512MiB", "`SIZE` of the guest's RAM")
		fs.StringVar(&p.platform, "platform", "adr", "`adr|eadr`: what the platform saves when the power fails; with eadr also the caches")
		fs.StringVar(&p.policy, "policy", "arch", "`arch|explicit`: with explicit only fences by name count, and only the program's own")
		fs.Var(&p.setup, "setup", "`COMMAND` of a shell, before the program; what it leaves is durable. May be repeated")
		fs.StringVar(&p.check, "check", "", "`COMMAND` of a shell that recovers and checks; with --on pool it is pmempool check if not given")
		fs.BoolVar(&p.atomic, "atomic", false, "--check has to print what it prints before the program, or what it prints after it")
		fs.Var(&p.push, "push", "bring the `FILE` of the host, a program too, to the guest's /tmp. May be repeated")
		fs.StringVar(&p.libraries, "libraries", "host", "`host|guest`: whose libraries the host's programs get")
		fs.Var(&p.packages, "package", "give the guest the Debian package `NAME`, or a file of one. May be repeated")
		fs.Var(&p.ignore, "ignore", "do not report missing flushes of places whose name has the `TEXT`, such as a library's. May be repeated")
		fs.IntVar(&p.depth, "depth", 2, "look at states in which up to `N` lines differ from the plainest")
		fs.IntVar(&p.limit, "limit", 1000, "run the check `N` times at most; 0 for no limit")
		fs.DurationVar(&p.budget, "budget", 0, "begin no check after the wall time `D`; 0 for no limit")
		fs.DurationVar(&p.timeout, "program-timeout", time.Minute, "the program's time in the guest, `D`")
		shard := fs.String("shard", "", "run part `I/N` of the checks; I is from 1 to N. If not given: as for nvlab run")
		fs.BoolVar(&p.printScenario, "print-scenario", false, "print the scenario, and run nothing")
		fs.StringVar(&o.State, "state", "", "of all crash states, look at the one named `ID` only")
		fs.IntVar(&o.Parallel, "parallel", 0, "run `N` checks at a time; 0 is one per core, as far as the host's memory allows")
		fs.DurationVar(&o.Timeout, "timeout", 30*time.Minute, "end all after the wall time `D`; 0 is never")
		fs.BoolVar(&o.JSON, "json", false, "write the events of go test -json")
		fs.StringVar(&o.JUnit, "junit", "", "write a JUnit report to `FILE`")
		fs.StringVar(&o.Artifacts, "artifacts", "", "keep what a failed test leaves in `DIR`")
		c.runFlags(fs, &o)
		var status int
		var ok bool
		if p.program, status, ok = c.parseBefore(fs, args); !ok {
			return status
		}
		if err := checkRun(&o); err != nil {
			return c.misused("%v", err)
		}
		var err error
		if o.Shard, err = nvrun.ParseShard(*shard, isGiven(fs, "shard"), os.LookupEnv); err != nil {
			return c.misused("%v", err)
		}
		args = withoutShard(args, len(p.program)) // reports and plans of all shards are one
		if o.Engine == "kvm" {
			return c.misused("--engine kvm: single stores are seen on the software engine only")
		}
		if o.Engine != "soft" {
			o.Engine, o.EngineReason = "soft", "single stores are seen on no other"
		}
		if err := p.complete(ctx); err != nil {
			return c.misused("%v", err)
		}
		for _, f := range p.delivery.files {
			o.AllowPaths = append(o.AllowPaths, f[0])
		}
		text := p.scenario(args, &o)
		if p.printScenario {
			fmt.Fprint(stdout, text)
			return exitOK
		}
		if note := fileHere(p.program[0]); note != "" {
			fmt.Fprintf(os.Stderr, "nvlab pmem: %s\n", note)
		}
		path := pmemPath(text)
		o.Paths, o.Texts = []string{path}, map[string]string{path: text}
		o.Name, o.Command = "nvlab pmem", append([]string{"nvlab", "pmem"}, args...)
		return nvrun.Run(ctx, o)
	}
}

// withoutShard is arguments, the last n of which are the program's, without -shard.
func withoutShard(args []string, n int) (kept []string) {
	program := len(args) - n
	for i := 0; i < program; i++ {
		switch name, _, whole := strings.Cut(strings.TrimLeft(args[i], "-"), "="); {
		case name != "shard" || args[i][0] != '-':
			kept = append(kept, args[i])
		case !whole:
			i++ // its value
		}
	}
	return append(kept, args[program:]...)
}

// pmemPath is what reports call a scenario: the same for the same one, so that
// shards can be told to be of one run.
func pmemPath(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("pmem-%x.star", sum[:4])
}

// complete checks what needs no guest, and finds the programs.
func (p *pmemOptions) complete(ctx context.Context) error {
	for _, one := range []struct{ flag, value, of string }{
		{"on", p.on, "fsdax devdax pool"}, {"platform", p.platform, "adr eadr"}, {"policy", p.policy, "arch explicit"}, {"libraries", p.libraries, "host guest"},
	} {
		if err := oneOf(one.flag, one.value, strings.Fields(one.of)); err != nil {
			return err
		}
	}
	if _, err := nvstar.ParseSize(p.memory); err != nil {
		return fmt.Errorf("--memory %w", err)
	}
	if err := checkNVDIMM(p.size); err != nil {
		return err
	}
	switch {
	case len(p.program) == 0:
		return errors.New("which program?")
	case p.depth < 0 || p.limit < 0 || p.budget < 0 || p.timeout <= 0:
		return errors.New("-depth, -limit and -budget are 0 or more, and -program-timeout is more")
	case p.layout != "" && p.on != "pool":
		return fmt.Errorf("--layout %s: want --on pool with it", p.layout)
	}
	if p.on == "pool" {
		p.packages = append(p.packages, "pmdk-tools")
		p.setup = append(list{"pmempool create --layout=" + nvrun.ShellQuote(p.layout) + " obj {}"}, p.setup...)
		if p.check == "" {
			p.check = "pmempool check {}"
		}
	}
	if p.atomic && p.check == "" {
		return errors.New("--atomic: want --check with it, whose output is compared")
	}
	if err := checkFiles(p.packages); err != nil {
		return err
	}
	for i, name := range p.packages {
		if strings.Contains(name, "/") {
			abs, err := filepath.Abs(name)
			if err != nil {
				return err
			}
			p.packages[i] = abs
		}
	}
	if strings.Contains(p.program[0], "/") {
		if err := executable(p.program[0]); err != nil {
			return err
		}
		guest, err := p.delivery.program(ctx, p.program[0], p.libraries == "host")
		if err != nil {
			return err
		}
		p.program = append([]string{guest}, p.program[1:]...)
	}
	for _, f := range p.push {
		if _, err := p.delivery.program(ctx, f, p.libraries == "host"); err != nil {
			return fmt.Errorf("--push %w", err)
		}
	}
	return p.printable()
}

// regionAlign is what Linux aligns regions of persistent memory to on x86
// (MEMREMAP_COMPAT_ALIGN_MAX), and the least that ndctl makes a namespace of.
const regionAlign = 16 << 20

// checkNVDIMM looks at the size of the NVDIMM.
func checkNVDIMM(text string) error {
	size, err := nvstar.ParseSize(text)
	if err != nil {
		return fmt.Errorf("--size %w", err)
	}
	if size == 0 || size%regionAlign != 0 {
		near := max(regionAlign, size/regionAlign*regionAlign)
		return fmt.Errorf("--size %s: the guest makes namespaces of multiples of 16 MiB only; the nearest are %s and %s", text, units.Size(near), units.Size(near+regionAlign))
	}
	return nil
}

// printable refuses what a scenario cannot hold.
func (p *pmemOptions) printable() error {
	texts := append(append(append([]string{p.check}, p.program...), p.setup...), p.ignore...)
	for _, f := range p.delivery.files {
		texts = append(texts, f[:]...)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("%q: want text in UTF-8, without zeros", text)
		}
	}
	return nil
}

// executable says that a file of the host cannot be the program. Whether there is
// one is not its business.
func executable(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s: it is not executable (%v): want a program, or chmod +x if it is one", path, info.Mode())
	}
	return nil
}

// fileHere says that a program of the guest has the name of a file of the host,
// which may be what is meant; "" if it does not.
func fileHere(program string) string {
	if strings.Contains(program, "/") {
		return ""
	}
	if info, err := os.Stat(program); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return fmt.Sprintf("%s is taken for a command of the guest, though there is a file %[1]s here: did you mean ./%[1]s?", program)
}

func oneOf(flag, value string, values []string) error {
	for _, v := range values {
		if v == value {
			return nil
		}
	}
	meant := ""
	if near := spell.Nearest(value, values); near != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", near)
	}
	return fmt.Errorf("--%s %s: want %s%s", flag, value, strings.Join(values, " or "), meant)
}

// scenario is the text of the scenario: what was asked for, and what is done.
func (p *pmemOptions) scenario(args []string, run *nvrun.Options) string {
	var b strings.Builder
	set := func(name, value, comment string) {
		fmt.Fprintf(&b, "%s = %s    # %s\n", name, value, comment)
	}
	command := []string{"nvlab", "run", "-v", "--engine", "soft"}
	for _, f := range [][2]string{{"--kernel", run.Kernel}, {"--release", run.Release}, {"--cmdline", run.Cmdline}} {
		if f[1] != "" {
			command = append(command, f[:]...)
		}
	}
	for _, path := range run.AllowPaths {
		command = append(command, "--allow-path", path)
	}
	fmt.Fprintf(&b, "# Written by: %s\n# Runs with: %s FILE\n\n", comment(nvrun.CommandLine(append([]string{"nvlab", "pmem"}, args...))), comment(nvrun.CommandLine(command)))
	set("ON", quoted(p.on), "what the persistent memory is")
	set("SIZE", quoted(p.size), "of the NVDIMM")
	set("MEMORY", quoted(p.memory), "of the guest")
	set("PLATFORM", quoted(p.platform), "what it saves when the power fails")
	set("POLICY", quoted(p.policy), "which fences count")
	set("PACKAGES", quotedList(p.packages), "of Debian")
	var files []string
	for _, f := range p.delivery.files {
		files = append(files, "("+quoted(f[0])+", "+quoted(f[1])+")")
	}
	set("FILES", "["+strings.Join(files, ", ")+"]", "of the host, and their places in the guest")
	set("LINKS", quotedList(p.delivery.after), "what makes programs of them")
	set("SETUP", quotedList(p.setup), "before the program")
	set("RUN", quotedList(p.program), "the program")
	set("TIMEOUT", quoted(p.timeout.String()), "of the guest's time, for the program")
	set("CHECK", orNone(p.check), "recovers and checks")
	set("ATOMIC", map[bool]string{false: "False", true: "True"}[p.atomic], "it prints what it did before the program, or what it does after it")
	set("IGNORE", quotedList(p.ignore), "places whose missing flushes are known")
	explore := fmt.Sprintf(`{"depth": %d`, p.depth)
	if p.limit > 0 {
		explore += fmt.Sprintf(`, "limit": %d`, p.limit)
	}
	if p.budget > 0 {
		explore += fmt.Sprintf(`, "budget": %q`, p.budget)
	}
	set("EXPLORE", explore+"}", "how far")
	return b.String() + pmemBody
}

// comment is text in a comment of one line.
func comment(text string) string { return strings.NewReplacer("\n", "\\n", "\r", "\\r").Replace(text) }

// quoted is a text as Starlark has it.
func quoted(text string) string { return strconv.Quote(text) }

func quotedList(texts []string) string {
	quotes := make([]string, len(texts))
	for i, t := range texts {
		quotes[i] = quoted(t)
	}
	return "[" + strings.Join(quotes, ", ") + "]"
}

func orNone(text string) string {
	if text == "" {
		return "None"
	}
	return quoted(text)
}
