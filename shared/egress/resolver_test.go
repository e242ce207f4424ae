package egress_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// resolve returns a resolver that knows the given names, which end in a dot, and no others:
// it asks a name server of the test's own.
func resolve(t *testing.T, names map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		query := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if reply := answer(query[:n], names); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer is a DNS message (RFC 1035) that answers a query for A or AAAA records.
func answer(query []byte, names map[string][]string) []byte {
	const header, a, aaaa = 12, 1, 28
	if len(query) < header {
		return nil
	}
	var name strings.Builder
	end := header
	for end < len(query) && query[end] != 0 {
		length := int(query[end])
		if end+1+length >= len(query) {
			return nil
		}
		name.Write(query[end+1 : end+1+length])
		name.WriteByte('.')
		end += 1 + length
	}
	end += 5 // the root, type and class
	if end > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[end-4:])
	addresses, known := names[strings.ToLower(name.String())]
	var records []byte
	var count uint16
	for _, text := range addresses {
		ip := netip.MustParseAddr(text)
		if ip.Is4() && kind != a || !ip.Is4() && kind != aaaa {
			continue
		}
		count++
		records = append(records, 0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 1, 0, byte(len(ip.AsSlice())))
		records = append(records, ip.AsSlice()...)
	}
	flags := uint16(0x8180)
	if !known {
		flags |= 3 // no such name
	}
	reply := append([]byte{}, query[:2]...)
	for _, field := range []uint16{flags, 1, count, 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, field)
	}
	reply = append(reply, query[header:end]...)
	return append(reply, records...)
}
