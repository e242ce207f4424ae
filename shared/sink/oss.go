package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"path"
	"strings"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"xinghe/shared/sign"
)

// OSS keeps files in a bucket of Alibaba Cloud's Object Storage Service, in the same way as
// [S3]. It has been tried against what the service's documents say, and not yet against the
// service itself.
type OSS struct {
	client         *oss.Client
	bucket, prefix string
}

// NewOSS returns the files of a bucket below a prefix, which may be empty. It does not touch
// the network.
func NewOSS(client *oss.Client, bucket, prefix string) (*OSS, error) {
	if client == nil || !oss.IsValidBucketName(&bucket) {
		return nil, fmt.Errorf("oss: %q is no bucket: 3 to 63 lower-case letters, digits and hyphens", bucket)
	}
	if prefix != "" {
		if err := check("oss", prefix); err != nil {
			return nil, err
		}
	}
	return &OSS{client: client, bucket: bucket, prefix: prefix}, nil
}

// Kind is [KindOSS].
func (s *OSS) Kind() string { return KindOSS }

func (s *OSS) key(name string) *string { return new(path.Join(s.prefix, name)) }

// below is the beginning of the keys of a folder.
func (s *OSS) below(folder string) *string {
	if key := path.Join(s.prefix, folder); key != "." && key != "" {
		return new(key + "/")
	}
	return nil
}

// Open implements [Sink].
func (s *OSS) Open(ctx context.Context, name string) (*File, error) {
	if err := check("open", name); err != nil {
		return nil, err
	}
	got, err := s.client.GetObject(ctx, &oss.GetObjectRequest{Bucket: &s.bucket, Key: s.key(name)})
	if err != nil {
		return nil, ossError(ctx, "open", name, err)
	}
	return &File{ReadCloser: got.Body, Info: Info{Path: name, Size: got.ContentLength, Modified: oss.ToTime(got.LastModified)}}, nil
}

// Stat implements [Sink].
func (s *OSS) Stat(ctx context.Context, name string) (Info, error) {
	if err := check("stat", name); err != nil {
		return Info{}, err
	}
	head, err := s.client.HeadObject(ctx, &oss.HeadObjectRequest{Bucket: &s.bucket, Key: s.key(name)})
	if err != nil {
		return Info{}, ossError(ctx, "stat", name, err)
	}
	return Info{Path: name, Size: head.ContentLength, Modified: oss.ToTime(head.LastModified)}, nil
}

// List implements [Sink]; the files come sorted by their paths.
func (s *OSS) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := check("list", path.Join(folder, "x")); err != nil {
			yield(Info{}, err)
			return
		}
		root := oss.ToString(s.below(""))
		pages := s.client.NewListObjectsV2Paginator(&oss.ListObjectsV2Request{Bucket: &s.bucket, Prefix: s.below(folder)})
		for pages.HasNext() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Info{}, ossError(ctx, "list", folder, err))
				return
			}
			for _, object := range page.Contents {
				name := strings.TrimPrefix(oss.ToString(object.Key), root)
				if strings.HasSuffix(name, "/") {
					continue // a folder that a tool has made
				}
				if !yield(Info{Path: name, Size: object.Size, Modified: oss.ToTime(object.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Delete implements [Sink].
func (s *OSS) Delete(ctx context.Context, name string) error {
	if err := check("delete", name); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &oss.DeleteObjectRequest{Bucket: &s.bucket, Key: s.key(name)})
	if err = ossError(ctx, "delete", name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Sweep implements [Sink].
func (s *OSS) Sweep(ctx context.Context, folder string) error {
	if err := check("sweep", path.Join(folder, "x")); err != nil {
		return err
	}
	pages := s.client.NewListMultipartUploadsPaginator(&oss.ListMultipartUploadsRequest{Bucket: &s.bucket, Prefix: s.below(folder)})
	for pages.HasNext() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return ossError(ctx, "sweep", folder, err)
		}
		for _, upload := range page.Uploads {
			_, err := s.client.AbortMultipartUpload(ctx, &oss.AbortMultipartUploadRequest{Bucket: &s.bucket, Key: upload.Key, UploadId: upload.UploadId})
			if err = ossError(ctx, "sweep", folder, err); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// What the service answers, by what it means.
var ossReasons = map[string]error{
	"NoSuchBucket": ErrGone,

	"AccessDenied": ErrDenied, "InvalidAccessKeyId": ErrDenied, "InvalidSecurityToken": ErrDenied, "SecurityTokenExpired": ErrDenied,
	"SignatureDoesNotMatch": ErrDenied, "UserDisable": ErrDenied,

	"QuotaExceeded": ErrFull,
}

// ossError makes an error of the client one of ours.
func ossError(ctx context.Context, op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", op, name, ctx.Err())
	}
	failure := &Error{Op: op, Path: name, Err: sign.RedactError(err)}
	answer, ok := errors.AsType[*oss.ServiceError](err)
	if !ok {
		return failure
	}
	switch answer.Code {
	case "NoSuchKey", "NoSuchUpload":
		return fmt.Errorf("%s %s: %w", op, name, ErrNotFound)
	}
	failure.Reason = ossReasons[answer.Code]
	failure.Err = fmt.Errorf("%s: %s (request %s)", answer.Code, sign.Redact(answer.Message), answer.RequestID)
	if failure.Reason == nil {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			failure.Reason = ErrDenied
		case http.StatusInsufficientStorage:
			failure.Reason = ErrFull
		}
	}
	return failure
}
