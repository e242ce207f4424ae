package sink

import (
	"bytes"
	"context"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
)

// Create implements [Sink].
func (s *OSS) Create(ctx context.Context, name string) (Writer, error) {
	if err := check("create", name); err != nil {
		return nil, err
	}
	return &pieceWriter{ctx: ctx, to: s, name: name}, nil
}

func (s *OSS) put(ctx context.Context, name string, piece []byte) error {
	_, err := s.client.PutObject(ctx, &oss.PutObjectRequest{Bucket: &s.bucket, Key: s.key(name), Body: bytes.NewReader(piece)})
	return ossError(ctx, "write", name, err)
}

func (s *OSS) begin(ctx context.Context, name string) (upload string, err error) {
	begun, err := s.client.InitiateMultipartUpload(ctx, &oss.InitiateMultipartUploadRequest{Bucket: &s.bucket, Key: s.key(name)})
	if err != nil {
		return "", ossError(ctx, "write", name, err)
	}
	return oss.ToString(begun.UploadId), nil
}

func (s *OSS) send(ctx context.Context, name, upload string, number int32, piece []byte) (tag string, err error) {
	sent, err := s.client.UploadPart(ctx, &oss.UploadPartRequest{
		Bucket: &s.bucket, Key: s.key(name), UploadId: &upload, PartNumber: number, Body: bytes.NewReader(piece),
	})
	if err != nil {
		return "", ossError(ctx, "write", name, err)
	}
	return oss.ToString(sent.ETag), nil
}

func (s *OSS) finish(ctx context.Context, name, upload string, tags []string) error {
	parts := make([]oss.UploadPart, len(tags))
	for i, tag := range tags {
		parts[i] = oss.UploadPart{ETag: new(tag), PartNumber: int32(i + 1)}
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &oss.CompleteMultipartUploadRequest{
		Bucket: &s.bucket, Key: s.key(name), UploadId: &upload, CompleteMultipartUpload: &oss.CompleteMultipartUpload{Parts: parts},
	})
	return ossError(ctx, "write", name, err)
}

func (s *OSS) abort(ctx context.Context, name, upload string) {
	_, _ = s.client.AbortMultipartUpload(ctx, &oss.AbortMultipartUploadRequest{Bucket: &s.bucket, Key: s.key(name), UploadId: &upload})
}
