package observe

// A Stream is non-temporal stores of 8 whole bytes each that one CPU made to one
// region, with nothing between them that a Fence or a Flush would tell of. Unlike
// a Store it comes after memory has changed. At is that of the first store.
type Stream struct {
	At
	Base   uint64 // guest-physical, of the observed region
	Kind   Kind   // of all of them: NonTemporal
	Stores []Streamed
}

// A Streamed is a store of a Stream.
type Streamed struct {
	Seq, PC uint64 // see At
	Offset  uint64 // in bytes, within the region: a multiple of 8
	Value   uint64
	Old     uint64 // that it replaced
	Group   uint64
}

// Store is store i as one by itself.
func (s *Stream) Store(i int) Store { return s.Of(&s.Stores[i]) }

// Of is a store of the stream as one by itself.
func (s *Stream) Of(o *Streamed) Store {
	e := Store{At: s.At, Base: s.Base, Offset: o.Offset, Value: o.Value, Size: 8, Kind: s.Kind, Group: o.Group}
	e.Seq, e.PC = o.Seq, o.PC
	return e
}

// A StreamObserver may be told of stores late, as a Stream, which spares most of
// their cost.
type StreamObserver interface {
	Observer
	// Streams says that it may. It is asked whenever Run begins; what it says
	// then holds until Run ends, or until the next Store, Flush or Fence.
	Streams() bool
	Stream(*Stream)
}
