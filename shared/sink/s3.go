package sink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"xinghe/shared/sign"
)

// S3 keeps files in a bucket. A small file is one request; a large one is uploaded in
// pieces of 5 MiB, of which a writer holds one in memory.
type S3 struct {
	client         *s3.Client
	bucket, prefix string
}

// NewS3 returns the files of a bucket below a prefix, which may be empty. It does not touch
// the network.
func NewS3(client *s3.Client, bucket, prefix string) (*S3, error) {
	if client == nil || bucket == "" {
		return nil, errors.New("s3: client and bucket are required")
	}
	if prefix != "" {
		if err := check("s3", prefix); err != nil {
			return nil, err
		}
	}
	return &S3{client: client, bucket: bucket, prefix: prefix}, nil
}

// OpenS3 is [NewS3] with a client of its own. With an address of its own
// (AWS_ENDPOINT_URL_S3) the bucket stands in the path of requests.
func OpenS3(cfg aws.Config, bucket, prefix string) (*S3, error) {
	return NewS3(s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = o.BaseEndpoint != nil
		// Services that are like S3 do not all know the newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}), bucket, prefix)
}

// Kind is [KindS3].
func (s *S3) Kind() string { return KindS3 }

func (s *S3) key(name string) *string { return aws.String(path.Join(s.prefix, name)) }

// below is the beginning of the keys of a folder.
func (s *S3) below(folder string) *string {
	if key := path.Join(s.prefix, folder); key != "." && key != "" {
		return aws.String(key + "/")
	}
	return aws.String("")
}

// Open implements [Sink].
func (s *S3) Open(ctx context.Context, name string) (*File, error) {
	if err := check("open", name); err != nil {
		return nil, err
	}
	got, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(name)})
	if err != nil {
		return nil, s3Error(ctx, "open", name, err)
	}
	return &File{ReadCloser: got.Body, Info: Info{Path: name, Size: aws.ToInt64(got.ContentLength), Modified: aws.ToTime(got.LastModified)}}, nil
}

// Stat implements [Sink].
func (s *S3) Stat(ctx context.Context, name string) (Info, error) {
	if err := check("stat", name); err != nil {
		return Info{}, err
	}
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(name)})
	if err != nil {
		return Info{}, s3Error(ctx, "stat", name, err)
	}
	return Info{Path: name, Size: aws.ToInt64(head.ContentLength), Modified: aws.ToTime(head.LastModified)}, nil
}

// List implements [Sink]; the files come sorted by their paths.
func (s *S3) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := check("list", path.Join(folder, "x")); err != nil {
			yield(Info{}, err)
			return
		}
		root := aws.ToString(s.below(""))
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.below(folder)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Info{}, s3Error(ctx, "list", folder, err))
				return
			}
			for _, object := range page.Contents {
				name := strings.TrimPrefix(aws.ToString(object.Key), root)
				if strings.HasSuffix(name, "/") {
					continue // a folder that a tool has made
				}
				if !yield(Info{Path: name, Size: aws.ToInt64(object.Size), Modified: aws.ToTime(object.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Delete implements [Sink].
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := check("delete", name); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(name)})
	if err = s3Error(ctx, "delete", name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Sweep implements [Sink].
func (s *S3) Sweep(ctx context.Context, folder string) error {
	if err := check("sweep", path.Join(folder, "x")); err != nil {
		return err
	}
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: s.below(folder)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s3Error(ctx, "sweep", folder, err)
		}
		for _, upload := range page.Uploads {
			_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: upload.Key, UploadId: upload.UploadId})
			if err = s3Error(ctx, "sweep", folder, err); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// What services answer, by what it means.
var s3Reasons = map[string]error{
	"NoSuchBucket": ErrGone,

	"AccessDenied": ErrDenied, "AccountProblem": ErrDenied, "AllAccessDisabled": ErrDenied, "ExpiredToken": ErrDenied,
	"InvalidAccessKeyId": ErrDenied, "InvalidToken": ErrDenied, "SignatureDoesNotMatch": ErrDenied, "Forbidden": ErrDenied,

	"QuotaExceeded": ErrFull, "XMinioStorageFull": ErrFull, "StorageFull": ErrFull, "InsufficientStorage": ErrFull,
}

// s3Error makes an error of the client one of ours.
func s3Error(ctx context.Context, op, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", op, name, ctx.Err())
	}
	failure := &Error{Op: op, Path: name, Err: sign.RedactError(err)}
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		switch code := answer.ErrorCode(); code {
		case "NoSuchKey", "NotFound", "NoSuchUpload":
			return fmt.Errorf("%s %s: %w", op, name, ErrNotFound)
		default:
			failure.Reason = s3Reasons[code]
			failure.Err = fmt.Errorf("%s: %s", code, sign.Redact(answer.ErrorMessage()))
		}
	}
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && failure.Reason == nil {
		switch answer.HTTPStatusCode() {
		case http.StatusUnauthorized, http.StatusForbidden:
			failure.Reason = ErrDenied
		case http.StatusInsufficientStorage:
			failure.Reason = ErrFull
		}
	}
	return failure
}
