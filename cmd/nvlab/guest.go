package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"nvlab/guest"
	"nvlab/guest/debian"
	"nvlab/internal/spell"
	"nvlab/vmm/boot"
)

var guestCommand = &command{
	name:  "guest",
	args:  "build|list|path|remove|prune [flags] [NAME]",
	short: "make, list, find and remove guests",
	long: `A guest is a stock kernel with the distribution's own ndctl. It is made from
packages, without root, and kept in ${XDG_CACHE_HOME:-~/.cache}/nvlab, a folder
that may be copied to another machine.

  nvlab guest build [--kernel K] [--release R] [--package P]... [--rebuild]
        makes a guest unless it is there. K is a package (linux-image-amd64), a
        version of one (PACKAGE=VERSION), a release (6.1.0-56-cloud-amd64) or the
        path of a kernel whose modules are installed, or in lib/modules/RELEASE of
        a folder that it is in. Without it: the default. R is the code name of a
        release of Debian; without it, the default guest's or the host's. A package
        is of that release, or with K@R of another.
  nvlab guest list
        lists the guests with their kernel, where their programs are from, what they
        take of the disk and when they were last used; * marks the default
  nvlab guest path [NAME]
        prints the folder of a guest
  nvlab guest remove NAME...
        removes guests that no nvlab uses
  nvlab guest prune [--size SIZE]
        removes the guests that were not used for longest until all take no more
        than SIZE, and what is left of builds that died; the default guest stays.
        A build does the same with $NVLAB_STORE_LIMIT, or 8GiB`,
}

func init() {
	guestCommand.run = func(ctx context.Context, c *command, args []string) int {
		fs := c.flags()
		var spec guest.Spec
		cache := fs.String("cache", "", "the `DIR` of guests")
		fs.StringVar(&spec.Kernel, "kernel", "", "which `KERNEL` (build)")
		fs.StringVar(&spec.Release, "release", "", "of which `RELEASE` of Debian (build, path): "+strings.Join(debian.Releases(), ", "))
		fs.Var((*list)(&spec.Packages), "package", "add the files of `PACKAGE`, of ./FILE.deb or src:SOURCE (build); may be repeated")
		fs.BoolVar(&spec.Rebuild, "rebuild", false, "make it even if it is there (build)")
		size := fs.String("size", "", "how large the store may be, a `SIZE` such as 4GiB (prune)")
		words, status, ok := c.parse(fs, args)
		if !ok {
			return status
		}
		if len(words) == 0 {
			return c.misused("want build, list, path, remove or prune")
		}
		verb, operands := words[0], words[1:]
		if err := onlyFor(fs, verb); err != nil {
			return c.misused("%v", err)
		}
		verbs := map[string]func(context.Context, *command, *guest.Store, guest.Spec, []string) int{
			"build": buildGuest, "list": listGuests, "path": guestPath, "remove": removeGuests, "prune": pruneGuests(*size),
		}
		do := verbs[verb]
		if do == nil {
			meant := ""
			if near := spell.Nearest(verb, slices.Sorted(maps.Keys(verbs))); near != "" {
				meant = fmt.Sprintf(" (did you mean %s?)", near)
			}
			return c.misused("there is no %q%s", verb, meant)
		}
		store, err := guest.Open(*cache)
		if err != nil {
			return c.failed(ctx, exitHost, err)
		}
		store.Vmlinux = boot.Decompress
		return do(ctx, c, store, spec, operands)
	}
}

// onlyFor refuses the flags of build with another verb.
func onlyFor(fs *flag.FlagSet, verb string) (err error) {
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "size" {
			if verb != "prune" {
				err = errors.New("-size goes with prune")
			}
			return
		}
		if f.Name != "cache" && verb != "build" && (f.Name != "release" || verb != "path") {
			err = fmt.Errorf("-%s goes with build", f.Name)
		}
	})
	return err
}

func buildGuest(ctx context.Context, c *command, store *guest.Store, spec guest.Spec, operands []string) int {
	if len(operands) > 0 {
		return c.misused("build takes flags only: --kernel %s", operands[0])
	}
	spec.Kernel = kernelFile(spec.Kernel)
	if err := checkSpec(spec); err != nil {
		return c.misused("%v", err)
	}
	image, err := store.Ensure(ctx, spec, progress())
	if guest.Mistaken(err) {
		return c.failed(ctx, exitUsage, err)
	}
	if err != nil {
		return c.failed(ctx, exitHost, err)
	}
	fmt.Fprintf(stdout, "%s  %s\n", image.Name, image.Dir())
	return exitOK
}

// kernelFile is a path of a kernel that lies in the current folder and was given
// by its name alone. Packages and releases are told by how they begin.
func kernelFile(name string) string {
	if name == "" || strings.Contains(name, "/") || strings.HasPrefix(name, "linux-image-") || name[0] >= '0' && name[0] <= '9' {
		return name
	}
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return name
	}
	return "./" + name
}

func listGuests(ctx context.Context, c *command, store *guest.Store, spec guest.Spec, operands []string) int {
	if len(operands) > 0 {
		return c.misused("list takes no names")
	}
	images, err := store.List()
	if err != nil {
		return c.failed(ctx, exitHost, err)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, im := range images {
		mark := " "
		if im.Default {
			mark = "*"
		}
		k := im.Manifest.Kernel
		source := "kernel of this host"
		if k.Package != "" {
			source = k.Package + "=" + k.Debian
		}
		tools := "programs of " + im.Manifest.Debian
		if im.Manifest.Tools == "host" {
			tools = "programs of this host"
		}
		size, err := im.Size()
		if err != nil {
			return c.failed(ctx, exitHost, err)
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\t%s\t%s\tused %s\t%s\n", mark, im.Name, im.KernelVersion, source, tools,
			megabytes(size), im.Used().Format(time.DateOnly), strings.Join(im.Manifest.Extra, " "))
	}
	w.Flush()
	if len(images) == 0 {
		fmt.Fprintf(os.Stderr, "no guests in %s: nvlab guest build makes one\n", store.Dir())
	}
	return exitOK
}

// megabytes is a number of bytes as a list shows it.
func megabytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

func removeGuests(ctx context.Context, c *command, store *guest.Store, _ guest.Spec, operands []string) int {
	if len(operands) == 0 {
		return c.misused("remove wants the names of guests: nvlab guest list shows them")
	}
	for _, name := range operands {
		err := store.Remove(name)
		switch {
		case errors.Is(err, guest.ErrNoGuest):
			fmt.Fprintf(os.Stderr, "nvlab guest: %v%s\n", err, meantGuest(store, name))
			return exitFail
		case errors.Is(err, guest.ErrInUse):
			fmt.Fprintf(os.Stderr, "nvlab guest: %v by another nvlab\n", err)
			return exitFail
		case err != nil:
			return c.failed(ctx, exitHost, err)
		}
	}
	return exitOK
}

func pruneGuests(size string) func(context.Context, *command, *guest.Store, guest.Spec, []string) int {
	return func(ctx context.Context, c *command, store *guest.Store, _ guest.Spec, operands []string) int {
		if len(operands) > 0 {
			return c.misused("prune takes no names: nvlab guest remove %s", strings.Join(operands, " "))
		}
		limit, err := guest.Limit()
		if size != "" {
			limit, err = guest.ParseLimit(size)
		}
		if err != nil {
			return c.misused("%v", err)
		}
		gone, err := store.Prune(limit)
		for _, name := range gone {
			fmt.Println("removed", name)
		}
		if err != nil {
			return c.failed(ctx, exitHost, err)
		}
		left, err := store.Size()
		if err != nil {
			return c.failed(ctx, exitHost, err)
		}
		fmt.Printf("%s has %s\n", store.Dir(), megabytes(left))
		return exitOK
	}
}

func guestPath(ctx context.Context, c *command, store *guest.Store, spec guest.Spec, operands []string) int {
	switch len(operands) {
	case 0:
	case 1:
		spec.Kernel = operands[0]
	default:
		return c.misused("path takes one name")
	}
	image, err := store.Lookup(spec)
	if errors.Is(err, guest.ErrNoGuest) {
		fmt.Fprintf(os.Stderr, "nvlab guest: %v%s\n", err, meantGuest(store, spec.Kernel))
		return exitFail
	}
	if err != nil {
		return c.failed(ctx, exitHost, err)
	}
	fmt.Fprintln(stdout, image.Dir())
	return exitOK
}

func meantGuest(store *guest.Store, name string) string {
	images, err := store.List()
	if err != nil {
		return ""
	}
	var names []string
	for _, im := range images {
		names = append(names, im.Name)
	}
	if near := spell.Nearest(name, names); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}
