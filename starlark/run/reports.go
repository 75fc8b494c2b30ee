package run

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A reportFile is a report on the whole run, which is written when that is over.
type reportFile struct {
	flag, path string // "" if it was not asked for
	write      func(r *runner, w io.Writer) error
}

func (o *Options) reportFiles() []reportFile {
	return []reportFile{
		{"-junit", o.JUnit, (*runner).junit},
		{"-ktap", o.KTAP, (*runner).ktap},
		{"-html", o.HTML, (*runner).html},
		{"-kcidb", o.KCIDB, (*runner).kcidb},
	}
}

// checkReports refuses files that cannot be written, before anything runs.
func (o *Options) checkReports() error {
	if err := o.checkOrigin(); err != nil {
		return err
	}
	written := map[string]string{} // which flag's report is in a file
	for _, f := range o.reportFiles() {
		switch {
		case f.path == "":
			continue
		case f.path == "-":
			return fmt.Errorf("%s -: want the name of a file; the standard output has the run's own text", f.flag)
		case filepath.Ext(f.path) == ".star":
			return fmt.Errorf("%s %s: that is the name of a scenario, which the report would replace: want FILE and then the scenarios", f.flag, f.path)
		}
		path, err := filepath.Abs(f.path)
		if err != nil {
			return fmt.Errorf("%s %s: %w", f.flag, f.path, err)
		}
		if other := written[path]; other != "" {
			return fmt.Errorf("%s %s: %s writes the same file", f.flag, f.path, other)
		}
		written[path] = f.flag
		folder := filepath.Dir(f.path)
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return fmt.Errorf("%s %s: there is no folder %s", f.flag, f.path, folder)
		}
	}
	return nil
}

// writeReports writes those that were asked for. One that cannot be written
// keeps no other from being.
func (r *runner) writeReports() (first error) {
	for _, f := range r.o.reportFiles() {
		if f.path == "" {
			continue
		}
		if err := f.to(r); err != nil {
			r.worst(ExitHost)
			first = cmp.Or(first, fmt.Errorf("%s: %w", f.flag, err))
		}
	}
	return first
}

func (f reportFile) to(r *runner) error {
	file, err := os.Create(f.path)
	if err != nil {
		return err
	}
	if err := f.write(r, file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
