package redact_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/jobs"
	"xinghe/shared/redact"
)

func all(tb testing.TB, patterns ...jobs.RedactPattern) *redact.Redactor {
	tb.Helper()
	r, err := redact.New(jobs.Redact{Kinds: jobs.RedactKinds, Patterns: patterns, Replacement: jobs.DefaultReplacement})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// TestCorpus goes through testdata/corpus.txt, in each line of which a text stands, an arrow,
// and what is to become of it; nothing behind the arrow means the same. "\u200b" and its like
// are written as in Go.
func TestCorpus(t *testing.T) {
	t.Parallel()
	r := all(t, jobs.RedactPattern{Name: "order", Regexp: `ORD-\d{8}`}, jobs.RedactPattern{Name: "secret", Regexp: `\x{FF08}(?:机密|绝密)\x{FF09}`})
	file, err := os.Open("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	seen, kept := map[string]int64{}, 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		text, want, ok := strings.Cut(lines.Text(), " →")
		if !ok || strings.HasPrefix(text, "#") {
			continue
		}
		text = strings.NewReplacer(`\u200b`, "\u200b", `\u00a0`, "\u00a0", `\t`, "\t").Replace(text)
		if want = strings.TrimPrefix(want, " "); want == "" {
			want = text
			kept++
		}
		counts := map[string]int64{}
		got, err := r.Text(text, counts)
		if err != nil || got != want {
			t.Errorf("%q became %q (%v), want %q", text, got, err, want)
		}
		expected := map[string]int64{}
		for _, kind := range append([]string{"order", "secret"}, jobs.RedactKinds...) {
			if n := int64(strings.Count(want, "["+kind+"]")); n > 0 {
				expected[kind] = n
				seen[kind] += n
			}
		}
		if diff := cmp.Diff(expected, counts); diff != "" {
			t.Errorf("%q: counts\n%s", text, diff)
		}
	}
	if len(seen) != 6 || kept < 40 || seen[jobs.RedactPhone] < 20 || seen[jobs.RedactIDCard] < 8 || seen[jobs.RedactBankCard] < 8 || seen[jobs.RedactEmail] < 8 {
		t.Errorf("the corpus is too small: %v found, %d lines kept", seen, kept)
	}
}

func TestReplacement(t *testing.T) {
	t.Parallel()
	r, err := redact.New(jobs.Redact{Kinds: []string{jobs.RedactPhone}, Replacement: "<{kind}·{kind}>"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Text("13800138000或a@b.cn", map[string]int64{}); err != nil || got != "<phone·phone>或a@b.cn" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFailsClosed holds that no text comes back with an error, and nothing is counted.
func TestFailsClosed(t *testing.T) {
	t.Parallel()
	slow := all(t)
	clock := time.Unix(0, 0)
	slow.SetClock(func() time.Time {
		clock = clock.Add(time.Minute)
		return clock
	})
	for name, tc := range map[string]struct {
		r    *redact.Redactor
		text string
		said string
	}{
		"too long":     {all(t), strings.Repeat("1", redact.MaxText+1), "at most 1048576"},
		"too slow":     {slow, "13800138000", "takes longer than 10s"},
		"too much":     {all(t, jobs.RedactPattern{Name: "any", Regexp: "."}), strings.Repeat("我", 200_000), "more than 100000 findings"},
		"just so long": {all(t), strings.Repeat("1", redact.MaxText), ""},
	} {
		counts := map[string]int64{}
		got, err := tc.r.Text(tc.text, counts)
		if tc.said == "" {
			if err != nil || got != tc.text {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if got != "" || !redact.Failed(err) || !strings.Contains(err.Error(), tc.said) || strings.Contains(err.Error(), "138") || len(counts) != 0 {
			t.Errorf("%s: %q, %v, %v", name, got, err, counts)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]jobs.Redact{
		"nothing":       {Replacement: "x"},
		"unknown":       {Kinds: []string{"face"}, Replacement: "x"},
		"empty pattern": {Patterns: []jobs.RedactPattern{{Name: "a", Regexp: "x*"}}, Replacement: "x"},
		"bare pattern":  {Patterns: []jobs.RedactPattern{{Name: "a"}}, Replacement: "x"}, // as in a manifest
		"no place":      {Kinds: []string{jobs.RedactPhone}},
	} {
		if _, err := redact.New(cfg); !redact.Failed(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{"+86 138-0013-8000", "110105 19491231 002X", "a@b.cn", "6222 0202 0000 0000 000", "\xff138", "138\u200b00138000"} {
		f.Add(text)
	}
	r := all(f, jobs.RedactPattern{Name: "order", Regexp: `ORD-\d{8}`})
	f.Fuzz(func(t *testing.T, text string) {
		counts := map[string]int64{}
		got, err := r.Text(text, counts)
		if err != nil {
			return
		}
		if len(counts) == 0 && got != text || utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("%q became %q, %v", text, got, counts)
		}
		// What was found stands between other things, which are left as they are.
		if again, err := r.Text(got, map[string]int64{}); err != nil || strings.Contains(again, "@") && !strings.Contains(got, "@") {
			t.Errorf("%q became %q, %v", got, again, err)
		}
	})
}

func ExampleRedactor_Text() {
	r, err := redact.New(jobs.Redact{Kinds: []string{jobs.RedactPhone, jobs.RedactEmail}, Replacement: jobs.DefaultReplacement})
	if err != nil {
		panic(err)
	}
	counts := map[string]int64{}
	text, err := r.Text("打我电话 138-0013-8000,或写信 xiao@example.com", counts)
	if err != nil {
		panic(err)
	}
	fmt.Println(text, counts)
	// Output: 打我电话 [phone],或写信 [email] map[email:1 phone:1]
}

func BenchmarkText(b *testing.B) {
	r := all(b, jobs.RedactPattern{Name: "order", Regexp: `ORD-\d{8}`})
	for name, text := range map[string]string{
		"plain":   strings.Repeat("今天过得怎么样?我在想你什么时候来找我聊天。", 3),
		"numbers": "今天 12 点,打我电话 138-0013-8000,或写信 xiao@example.com,订单 ORD-12345678",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			counts := map[string]int64{}
			for b.Loop() {
				if _, err := r.Text(text, counts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
