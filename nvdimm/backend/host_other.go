//go:build !linux

package backend

import (
	"io/fs"
	"os"
)

const (
	mapNoReserve = 0
	mapSync      = 0
)

func deviceNumber(fs.FileInfo) (major, minor uint32, ok bool) { return 0, 0, false }

func hugePage(*os.File) uint64 { return 0 }

func freeSpace(*os.File) (free uint64, ok bool) { return 0, false }

func dataSync(f *os.File) error { return f.Sync() }

func fileData(_ *os.File, from, to int64) ([]extent, error) { return []extent{{from, to}}, nil }

func privatePages(_ []byte, from, to int64) ([]extent, error) { return []extent{{from, to}}, nil }
