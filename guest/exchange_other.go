//go:build !linux

package guest

import "errors"

func exchange(string, string) error { return errors.ErrUnsupported }
