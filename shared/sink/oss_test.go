package sink_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sink"
	"xinghe/shared/sink/sinktest"
)

func TestOSS(t *testing.T) {
	t.Parallel()
	service := sinktest.NewOSS(t)
	opened := func(t *testing.T, secret, bucket string) *sink.OSS {
		t.Helper()
		s, err := sink.NewOSS(service.Client(secret), bucket, "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("WithPrefix", func(t *testing.T) {
		conform(t, func(t *testing.T) sink.Sink {
			t.Helper()
			return service.Bucket(strings.ToLower(filepath.Base(t.Name())), "some/prefix")
		})
	})
	t.Run("WithoutPrefix", func(t *testing.T) {
		s := service.Bucket("whole", "")
		for _, name := range []string{"a/b", "a/c", "a/d+e f&g", "x"} { // more than a page of a list
			if err := write(t.Context(), s, name, []byte(name)); err != nil || string(read(t, s, name)) != name {
				t.Errorf("%s: %v", name, err)
			}
		}
		if diff := cmp.Diff([]string{"a/b", "a/c", "a/d+e f&g"}, list(t, s, "a")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"a/b", "a/c", "a/d+e f&g", "x"}, list(t, s, "")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("BucketThatIsNotThere", func(t *testing.T) {
		s := opened(t, sinktest.SecretKey, "nowhere")
		refuses(t, s, sink.ErrGone)
		if _, err := s.Stat(t.Context(), "file"); !errors.Is(err, sink.ErrGone) {
			t.Errorf("stat: %v", err)
		}
	})
	t.Run("WrongSecret", func(t *testing.T) {
		service.Bucket("guarded", "")
		refuses(t, opened(t, "wrong", "guarded"), sink.ErrDenied)
	})
	t.Run("ServiceThatIsAway", func(t *testing.T) {
		s := service.Bucket("away", "")
		service.Stop()
		defer service.Start()
		refuses(t, s, nil)
	})
}

func TestOSSUploadsThatFailLeaveNothing(t *testing.T) {
	t.Parallel()
	service := sinktest.NewOSS(t)
	w, err := service.Bucket("uploads", "").Create(t.Context(), "x/file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 11<<20)); err != nil {
		t.Fatal(err)
	}
	if n := service.Uploads(); n != 1 {
		t.Errorf("%d uploads under way", n)
	}
	w.Abort()
	if n := service.Uploads(); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

func TestOpenOSS(t *testing.T) {
	service := sinktest.NewOSS(t)
	service.Bucket("bucket", "")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(sinktest.SecretKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(t *testing.T, region, key, secretFile string) {
		t.Helper()
		for name, value := range map[string]string{
			"OSS_REGION": region, "OSS_ENDPOINT": service.URL, "ALIBABA_CLOUD_ACCESS_KEY_ID": key, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "",
			"ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE": secretFile, "ALIBABA_CLOUD_SECURITY_TOKEN": "",
		} {
			t.Setenv(name, value)
		}
	}
	t.Run("ByItsWord", func(t *testing.T) {
		set(t, sinktest.OSSRegion, sinktest.AccessKey, file)
		s, err := sink.Parse("oss://bucket/some/prefix/", nil)
		if err != nil || s.Kind() != sink.KindOSS {
			t.Errorf("%v, %v", s, err)
		}
		for _, word := range []string{"oss://", "oss://Bucket", "oss://bucket/../x"} {
			if s, err := sink.Parse(word, nil); err == nil || s != nil {
				t.Errorf("%s: %v, %v", word, s, err)
			}
		}
	})
	t.Run("Works", func(t *testing.T) {
		set(t, sinktest.OSSRegion, sinktest.AccessKey, file)
		s, err := sink.OpenOSS("bucket", "prefix")
		if err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), s, "file", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, s, "file")); got != "x" {
			t.Errorf("read %q", got)
		}
		if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, s, sink.ErrDenied)
	})
	for _, tc := range []struct{ name, region, key, file, want string }{
		{"NoRegion", "", "k", file, `OSS_REGION: "" is no region such as cn-hangzhou`},
		{"NoKey", sinktest.OSSRegion, "", file, "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET: missing"},
		{"NoFile", sinktest.OSSRegion, "k", "no/such/file", "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set(t, tc.region, tc.key, tc.file)
			if _, err := sink.OpenOSS("bucket", ""); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
