//go:build !unix

package states

import (
	"io/fs"
	"os"
)

func tryLock(*os.File) error { return nil }

func onDisk(info fs.FileInfo) int64 { return info.Size() }
