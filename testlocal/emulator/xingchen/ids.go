package xingchen

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
)

// idSource makes ids from the seed and a counter: the same in every run that asks in the same order.
type idSource struct {
	seed uint64
	next atomic.Uint64
}

func (s *idSource) bytes() [16]byte {
	n := s.next.Add(1)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], scramble(n+s.seed*0x9e3779b97f4a7c15))
	binary.BigEndian.PutUint64(id[8:], scramble(n^scramble(s.seed)))
	return id
}

// hex is an id of 32 lower-case hex digits.
func (s *idSource) hex() string {
	id := s.bytes()
	return hex.EncodeToString(id[:])
}

// uuid is an id in the dashed form of a UUID.
func (s *idSource) uuid() string {
	id := s.bytes()
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return dashed(id)
}

func dashed(id [16]byte) string {
	var out [36]byte
	hex.Encode(out[0:8], id[0:4])
	hex.Encode(out[9:13], id[4:6])
	hex.Encode(out[14:18], id[6:8])
	hex.Encode(out[19:23], id[8:10])
	hex.Encode(out[24:36], id[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// scramble is the finaliser of splitmix64: every number goes to another one, and [unscramble] back.
func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func unscramble(x uint64) uint64 {
	x = (x ^ x>>31 ^ x>>62) * 0x319642b2d24d8ec3
	x = (x ^ x>>27 ^ x>>54) * 0x96de1b173f119089
	return x ^ x>>30 ^ x>>60
}

// hash64 is a stable number for texts.
func hash64(seed uint64, parts ...string) uint64 {
	sum := scramble(seed + 1)
	for _, part := range parts {
		for i := range len(part) {
			sum = (sum ^ uint64(part[i])) * 1099511628211
		}
		sum = scramble(sum ^ 0xff)
	}
	return sum
}

// accountOf names the account of a key without giving the key away: 32 hex digits.
func accountOf(key string) string {
	sum := sha256.Sum256([]byte("account:" + key))
	return hex.EncodeToString(sum[:16])
}
