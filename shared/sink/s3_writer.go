package sink

import (
	"bytes"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Create implements [Sink].
func (s *S3) Create(ctx context.Context, name string) (Writer, error) {
	if err := check("create", name); err != nil {
		return nil, err
	}
	return &pieceWriter{ctx: ctx, to: s, name: name}, nil
}

func (s *S3) put(ctx context.Context, name string, piece []byte) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.key(name), Body: bytes.NewReader(piece)})
	return s3Error(ctx, "write", name, err)
}

func (s *S3) begin(ctx context.Context, name string) (upload string, err error) {
	begun, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: s.key(name)})
	if err != nil {
		return "", s3Error(ctx, "write", name, err)
	}
	return aws.ToString(begun.UploadId), nil
}

func (s *S3) send(ctx context.Context, name, upload string, number int32, piece []byte) (tag string, err error) {
	sent, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: s.key(name), UploadId: &upload, PartNumber: &number, Body: bytes.NewReader(piece),
	})
	if err != nil {
		return "", s3Error(ctx, "write", name, err)
	}
	return aws.ToString(sent.ETag), nil
}

func (s *S3) finish(ctx context.Context, name, upload string, tags []string) error {
	parts := make([]types.CompletedPart, len(tags))
	for i, tag := range tags {
		parts[i] = types.CompletedPart{ETag: aws.String(tag), PartNumber: aws.Int32(int32(i + 1))}
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: s.key(name), UploadId: &upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return s3Error(ctx, "write", name, err)
}

func (s *S3) abort(ctx context.Context, name, upload string) {
	_, _ = s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: s.key(name), UploadId: &upload})
}
