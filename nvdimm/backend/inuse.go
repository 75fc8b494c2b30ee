package backend

import "fmt"

// An InUseError says that another running VM maps a file that a VM stores to,
// or stores to one that it maps: what either holds is not one VM's to save.
type InUseError struct{ Backend *Backend }

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s: another running VM maps this file too, and what it stored cannot be told from this VM's: power it off first", e.Backend)
}

// alone says whether no guest of another VM stores to the backends, or sees what
// is stored to them.
func alone(list []Used) error {
	own := map[*Mapping]bool{}
	for _, u := range list {
		own[u.Mapping] = true
	}
	var others []*Mapping
	mappings.Lock()
	for m := range mappings.open {
		if !own[m] {
			others = append(others, m)
		}
	}
	mappings.Unlock()
	for _, u := range list {
		for _, m := range others {
			if b := u.Backend; (b.writes() || m.backend.writes()) && b.meets(m.backend) {
				return &InUseError{b}
			}
		}
	}
	return nil
}
