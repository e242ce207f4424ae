package characterapi

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"xinghe/shared/egress"
)

func FuzzChecks(f *testing.F) {
	for _, name := range []string{"create", "update", "search", "delete"} {
		text, err := os.ReadFile(filepath.Join("testdata", "xingchen-character-"+name+"-request.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"avatar":{"fileUrl":"http://[::1%25a]:80/"},"name":[],"version":1e999,"orderBy":[" "],"advancedConfig":{"isRealInfo":true}}`))
	addresses, err := NewAddresses(egress.Config{Allow: []string{"localhost:8788"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		document, err := parse(body)
		if err != nil {
			return
		}
		r := httptest.NewRequest("POST", "/v2/api/character/delete?characterId=c", nil)
		for _, op := range operations {
			if op.check == nil {
				continue
			}
			c := &checker{address: addresses.fault}
			op.check(c, r, document)
			if len(c.faults) > maxFaults+1 {
				t.Errorf("%s: %d faults", op.pattern, len(c.faults))
			}
			for _, fault := range c.faults {
				if fault.Field == "" || fault.Message == "" || !utf8.ValidString(fault.Message) {
					t.Errorf("%s: fault %+v", op.pattern, fault)
				}
			}
		}
	})
}
