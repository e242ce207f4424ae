package sink_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"xinghe/shared/env"
	"xinghe/shared/sink"
	"xinghe/shared/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFolder(t *testing.T) {
	t.Parallel()
	conform(t, func(t *testing.T) sink.Sink { t.Helper(); return folder(t, t.TempDir()) })
}

func TestS3(t *testing.T) {
	t.Parallel()
	gateway := sinktest.New(t)
	t.Run("WithPrefix", func(t *testing.T) {
		conform(t, func(t *testing.T) sink.Sink {
			t.Helper()
			return gateway.Bucket("b-"+strings.ToLower(strings.ReplaceAll(filepath.Base(t.Name()), "_", "-")), "some/prefix")
		})
	})
	t.Run("BucketThatIsNotThere", func(t *testing.T) {
		s, err := sink.NewS3(gateway.Client(sinktest.SecretKey), "nowhere", "")
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, s, sink.ErrGone)
	})
	t.Run("WrongSecret", func(t *testing.T) {
		gateway.Bucket("guarded", "")
		s, err := sink.NewS3(gateway.Client("wrong"), "guarded", "")
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, s, sink.ErrDenied)
	})
	t.Run("ServiceThatIsAway", func(t *testing.T) {
		s := gateway.Bucket("away", "")
		gateway.Stop()
		defer gateway.Start()
		refuses(t, s, nil)
	})
}

func folder(tb testing.TB, root string) *sink.Folder {
	tb.Helper()
	f, err := sink.NewFolder(root)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// refuses tries to write a file; the sink must say why it cannot.
func refuses(t *testing.T, s sink.Sink, reason error) {
	t.Helper()
	err := write(t.Context(), s, "file", []byte("x"))
	failure, ok := errors.AsType[*sink.Error](err)
	if !ok || !errors.Is(failure.Reason, reason) {
		t.Errorf("%v is no *sink.Error for %v", err, reason)
	}
}

func write(ctx context.Context, s sink.Sink, path string, data []byte) error {
	w, err := s.Create(ctx, path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

func read(t *testing.T, s sink.Sink, path string) []byte {
	t.Helper()
	file, err := s.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data, err := io.ReadAll(file)
	if err != nil || int64(len(data)) != file.Size || file.Path != path || file.Modified.IsZero() {
		t.Errorf("read %d bytes, %v; told %+v", len(data), err, file.Info)
	}
	return data
}

func list(t *testing.T, s sink.Sink, folder string) []string {
	t.Helper()
	names := []string{}
	for info, err := range s.List(t.Context(), folder) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Path)
	}
	slices.Sort(names)
	return names
}

// conform holds a kind of sink to what package sink promises.
func conform(t *testing.T, fresh func(*testing.T) sink.Sink) {
	t.Helper()
	large := bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16) // more than two pieces of an upload
	t.Run("WritesAndReads", func(t *testing.T) {
		s := fresh(t)
		for name, data := range map[string][]byte{"empty": {}, "a/b/文件.jsonl": []byte("row\n"), "large": large, "piece": large[:5<<20]} {
			if err := write(t.Context(), s, name, data); err != nil {
				t.Fatal(err)
			}
			if got := read(t, s, name); !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes came back of %d", name, len(got), len(data))
			}
			if info, err := s.Stat(t.Context(), name); err != nil || info.Size != int64(len(data)) || info.Path != name {
				t.Errorf("%s: %+v, %v", name, info, err)
			}
		}
		if diff := cmp.Diff([]string{"a/b/文件.jsonl", "empty", "large", "piece"}, list(t, s, "")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"a/b/文件.jsonl"}, list(t, s, "a")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("ReplacesAndDeletes", func(t *testing.T) {
		s := fresh(t)
		for _, text := range []string{"one", "three"} {
			if err := write(t.Context(), s, "file", []byte(text)); err != nil {
				t.Fatal(err)
			}
			if got := read(t, s, "file"); string(got) != text {
				t.Errorf("read %q", got)
			}
		}
		for range 2 {
			if err := s.Delete(t.Context(), "file"); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Open(t.Context(), "file"); !errors.Is(err, sink.ErrNotFound) {
			t.Errorf("open: %v", err)
		}
		if _, err := s.Stat(t.Context(), "file"); !errors.Is(err, sink.ErrNotFound) {
			t.Errorf("stat: %v", err)
		}
	})
	t.Run("AppearsWholeOrNotAtAll", func(t *testing.T) {
		s := fresh(t)
		w, err := s.Create(t.Context(), "x/file")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(large); err != nil {
			t.Fatal(err)
		}
		if got := list(t, s, "x"); len(got) > 0 {
			t.Errorf("half a file is there: %v", got)
		}
		w.Abort()
		w.Abort()
		if err := w.Commit(); err == nil {
			t.Error("an aborted file was committed")
		}
		if got := list(t, s, ""); len(got) > 0 {
			t.Errorf("an aborted file is there: %v", got)
		}
	})
	t.Run("TwoWritersOfOneFile", func(t *testing.T) {
		s := fresh(t)
		var writers []sink.Writer
		for range 2 {
			w, err := s.Create(t.Context(), "x/file")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(large); err != nil {
				t.Fatal(err)
			}
			writers = append(writers, w)
		}
		for _, w := range writers {
			if err := w.Commit(); err != nil {
				t.Error(err)
			}
		}
		if got := read(t, s, "x/file"); !bytes.Equal(got, large) {
			t.Error("the file is not what both wrote")
		}
	})
	t.Run("SweepsWhatIsLeft", func(t *testing.T) {
		s := fresh(t)
		if err := errors.Join(write(t.Context(), s, "x/done", []byte("x")), s.Sweep(t.Context(), "never")); err != nil {
			t.Fatal(err)
		}
		w, err := s.Create(t.Context(), "x/y/left")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(large); err != nil {
			t.Fatal(err)
		}
		if err := s.Sweep(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err == nil {
			t.Error("a file was committed that had been swept away")
		}
		if diff := cmp.Diff([]string{"x/done"}, list(t, s, "")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("StopsWithItsContext", func(t *testing.T) {
		s := fresh(t)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := s.Create(ctx, "file")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_, err = w.Write(large)
		if err = errors.Join(err, w.Commit()); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if got := list(t, s, ""); len(got) > 0 {
			t.Errorf("files: %v", got)
		}
	})
	t.Run("RefusesPathsThatAreNone", func(t *testing.T) {
		s := fresh(t)
		for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", "a/../b", "a//b", "a/", `a\b`, "a\x00", "x/.y.draft"} {
			_, create := s.Create(t.Context(), name)
			_, open := s.Open(t.Context(), name)
			_, stat := s.Stat(t.Context(), name)
			for verb, err := range map[string]error{"create": create, "open": open, "stat": stat, "delete": s.Delete(t.Context(), name)} {
				if !errors.Is(err, sink.ErrInvalid) {
					t.Errorf("%s %q: %v", verb, name, err)
				}
			}
		}
	})
}

func TestFolderThatFails(t *testing.T) {
	t.Parallel()
	t.Run("Vanished", func(t *testing.T) {
		root := filepath.Join(t.TempDir(), "exports")
		s := folder(t, root)
		if err := write(t.Context(), s, "file", nil); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
		refuses(t, s, sink.ErrGone)
		if err := os.Mkdir(root, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), s, "file", nil); err != nil {
			t.Errorf("the folder is back: %v", err)
		}
	})
	t.Run("AFileInTheWay", func(t *testing.T) {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		err := write(t.Context(), folder(t, root), "file/x", nil)
		if _, ok := errors.AsType[*sink.Error](err); !ok || strings.Contains(err.Error(), root) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("LinkThatLeavesIt", func(t *testing.T) {
		root, outside := t.TempDir(), t.TempDir()
		if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), folder(t, root), "link/x", nil); err == nil {
			t.Error("a file was written outside of the folder")
		}
	})
}

func TestUploadsThatFailLeaveNothing(t *testing.T) {
	t.Parallel()
	gateway := sinktest.New(t)
	s := gateway.Bucket("uploads", "")
	w, err := s.Create(t.Context(), "x/file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 11<<20)); err != nil {
		t.Fatal(err)
	}
	client := gateway.Client(sinktest.SecretKey)
	count := func() int {
		got, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("uploads")})
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Uploads)
	}
	if n := count(); n != 1 {
		t.Errorf("%d uploads under way", n)
	}
	w.Abort()
	if n := count(); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

func TestFromEnv(t *testing.T) {
	for _, tc := range []struct {
		name, value, kind string
		fault             string
	}{
		{"default", "", sink.KindFolder, ""},
		{"folder", "folder:/data", sink.KindFolder, ""},
		{"bucket", "s3://bucket", sink.KindS3, ""},
		{"prefix", "s3://bucket/a/b/", sink.KindS3, ""},
		{"no path", "folder:", "", "want folder:<path>"},
		{"no bucket", "s3://", "", "bucket"},
		{"prefix that leaves the bucket", "s3://bucket/../x", "", "not a path"},
		{"something else", "ftp://x", "", "want folder:<path>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
			vars := env.New(func(name string) string { return map[string]string{"XINGHE_SINK": tc.value}[name] })
			s := sink.FromEnv(vars)
			err := vars.Err()
			switch {
			case tc.fault != "":
				if s != nil || err == nil || !strings.Contains(err.Error(), "XINGHE_SINK") || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("sink %v, error %v", s, err)
				}
			case err != nil:
				t.Error(err)
			case s.Kind() != tc.kind:
				t.Errorf("kind %s", s.Kind())
			}
		})
	}
}

func TestEnvAWS(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "key")
	read := func() (region, address, token string) {
		cfg, err := sink.EnvAWS()
		if err != nil {
			t.Fatal(err)
		}
		keys, err := cfg.Credentials.Retrieve(t.Context())
		if err != nil || keys.AccessKeyID != "id" || keys.SecretAccessKey != "key" {
			t.Errorf("credentials %v", err)
		}
		if cfg.BaseEndpoint != nil {
			address = *cfg.BaseEndpoint
		}
		return cfg.Region, address, keys.SessionToken
	}
	if region, address, token := read(); region != sink.DefaultRegion || address != "" || token != "" {
		t.Errorf("%q %q %q", region, address, token)
	}
	t.Setenv("AWS_DEFAULT_REGION", "eu-west-1")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	if region, address, _ := read(); region != "eu-west-1" || address != "http://127.0.0.1:1" {
		t.Errorf("%q %q", region, address)
	}
	t.Setenv("AWS_REGION", "eu-north-1")
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	if region, address, token := read(); region != "eu-north-1" || address != "http://127.0.0.1:2" || token != "token" {
		t.Errorf("%q %q %q", region, address, token)
	}
}
