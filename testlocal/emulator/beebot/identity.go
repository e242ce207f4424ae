package beebot

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// identity is a deterministic source of ids (SplitMix64). It guards nothing: the emulator's
// tokens are as predictable as its seed.
type identity struct{ state uint64 }

// identityOf gives the source of the nth request.
func (s *Server) identityOf(nth uint64) identity {
	return identity{state: s.cfg.Seed*0x9e3779b97f4a7c15 ^ nth*0xd1342543de82ef95}
}

func (s *Server) nextIdentity() identity { return s.identityOf(s.serial.Add(1)) }

func (i *identity) next() uint64 {
	i.state += 0x9e3779b97f4a7c15
	z := i.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (i *identity) bytes() (out [16]byte) {
	binary.BigEndian.PutUint64(out[:8], i.next())
	binary.BigEndian.PutUint64(out[8:], i.next())
	return out
}

// appendHex appends 32 hexadecimal digits, the form of session, sequence and token ids.
func (i *identity) appendHex(dst []byte) []byte {
	raw := i.bytes()
	return hex.AppendEncode(dst, raw[:])
}

// appendUUID appends a random UUID (version 4), the form of message and request ids.
func (i *identity) appendUUID(dst []byte) []byte {
	raw := i.bytes()
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	for n, part := range [...][]byte{raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]} {
		if n > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

func (i *identity) hex() string  { return string(i.appendHex(nil)) }
func (i *identity) uuid() string { return string(i.appendUUID(nil)) }

// requestID is the upper-case form in which the gateway writes its request ids.
func (i *identity) requestID() string { return strings.ToUpper(i.uuid()) }

// mix is FNV-1a over the parts, each ended by a byte that no text has.
func mix(seed uint64, parts ...string) uint64 {
	const prime = 1099511628211
	sum := uint64(14695981039346656037) ^ seed
	for _, part := range parts {
		for i := range len(part) {
			sum = (sum ^ uint64(part[i])) * prime
		}
		sum = (sum ^ 0xff) * prime
	}
	return sum
}
