package x86

import "encoding/binary"

// GetLE reads n little-endian bytes, 1 to 8.
func GetLE(b []byte, n uint8) uint64 {
	switch n {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	var v uint64
	for i := uint8(0); i < n; i++ {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// PutLE writes n little-endian bytes, 1 to 8.
func PutLE(b []byte, n uint8, v uint64) {
	switch n {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	case 8:
		binary.LittleEndian.PutUint64(b, v)
	default:
		for i := uint8(0); i < n; i++ {
			b[i] = byte(v >> (8 * i))
		}
	}
}

// SignExtend widens the low size bytes of v.
func SignExtend(v uint64, size uint8) uint64 {
	switch size {
	case 1:
		return uint64(int8(v))
	case 2:
		return uint64(int16(v))
	case 4:
		return uint64(int32(v))
	}
	return v
}

// SizeMask has the low size bytes set.
func SizeMask(size uint8) uint64 {
	return ^uint64(0) >> (64 - 8*uint(size))
}
