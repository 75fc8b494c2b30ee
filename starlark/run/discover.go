package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Discover gives the scenarios of files and folders in the order given, those
// of a folder sorted, each once. Hidden folders are not searched.
func Discover(paths []string) ([]string, error) {
	var files []string
	seen := make(map[string]bool)
	add := func(path string) {
		if path = filepath.Clean(path); !seen[path] {
			seen[path] = true
			files = append(files, path)
		}
	}
	for _, path := range paths {
		path = strings.TrimSuffix(path, "/...")
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%s: there is no such file or folder", path)
		case err != nil:
			return nil, err
		case !info.IsDir():
			if filepath.Ext(path) != ".star" {
				return nil, fmt.Errorf("%s: the name of a scenario ends in .star", path)
			}
			if !info.Mode().IsRegular() {
				return nil, fmt.Errorf("%s: no regular file", path)
			}
			add(path)
			continue
		}
		var found []string
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && p != path && strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			case (d.Type().IsRegular() || d.Type() == fs.ModeSymlink) && filepath.Ext(p) == ".star":
				found = append(found, p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		slices.Sort(found)
		for _, p := range found {
			add(p)
		}
	}
	return files, nil
}
