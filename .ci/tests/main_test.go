package main

import (
	"io"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	const (
		ok    = `{"Action":"pass","Package":"p","Test":"TestSmall"}` + "\n"
		long  = `{"Action":"output","Package":"p","Test":"TestLong","Output":"    a_test.go:4: takes hours\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestLong"}` + "\n"
		mute  = `{"Action":"skip","Package":"p","Test":"TestLong"}` + "\n"
		other = `{"Action":"output","Package":"p","Test":"TestOther","Output":"    b.go:9: not installed\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestOther"}` + "\n"
		fail  = `{"Action":"fail","Package":"p","Test":"TestBad"}` + "\n"
	)
	expected := map[name]string{{"p", "TestLong"}: "TestSmall"}
	for title, tc := range map[string]struct{ in, fault string }{
		"well":              {ok + long, ""},
		"nothing ran":       {"", "no test has run"},
		"no reason":         {ok + mute, "p TestLong is skipped without a reason"},
		"unknown":           {ok + long + other, "p TestOther is skipped, which .ci/skips.txt does not know"},
		"not skipped":       {ok, `p TestLong stands in .ci/skips.txt, but was not skipped: ""`},
		"small form gone":   {long, `p TestSmall, which covers TestLong in small, did not pass: ""`},
		"failed":            {ok + long + fail, "FAIL p TestBad"},
		"words of go alone": {"go: no such tool\n", "no test has run"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			err := report(strings.NewReader(tc.in), io.Discard, expected)
			if (err != nil) != (tc.fault != "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("%v, want %q", err, tc.fault)
			}
		})
	}
}
