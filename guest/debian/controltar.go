package debian

import (
	"bytes"
	"io"
)

// maxControl bounds a package's control files, in bytes.
const maxControl = 32 << 20

// ReadControl returns the control files of a .deb by name: control, and the
// maintainer scripts such as postinst (deb(5), control.tar).
func ReadControl(deb io.Reader) (map[string][]byte, error) {
	var tar bytes.Buffer
	if err := spoolMember(deb, "control.tar", &tar, maxControl, nil); err != nil {
		return nil, err
	}
	entries, err := listTar(bytes.NewReader(tar.Bytes()))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if e.Mode&ModeType != ModeRegular {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return nil, err
		}
		if files[e.Path], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	return files, nil
}
