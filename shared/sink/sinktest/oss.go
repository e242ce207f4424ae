package sinktest

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"hash/crc64"
	"hash/maphash"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/oklog/ulid/v2"

	"xinghe/shared/sink"
)

// OSSRegion is the region of an [OSS].
const OSSRegion = "cn-hangzhou"

const (
	ossPage    = 2         // entries of a list, so that lists have pages
	ossMinPart = 100 << 10 // bytes of a part, but for the last
)

// OSS imitates the part of Alibaba Cloud's Object Storage Service that package sink needs, as
// its public documents tell it: signatures of version 4, buckets in the path, multipart
// uploads. What works with it need not work with the service itself.
type OSS struct {
	// URL is the service's address.
	URL string

	tb      testing.TB
	address string
	server  *http.Server
	ended   chan struct{}

	mu      sync.Mutex
	buckets map[string]map[string]ossObject
	uploads map[string]*ossUpload
}

type ossObject struct {
	data     []byte
	modified time.Time
}

type ossUpload struct {
	bucket, key string
	parts       map[int][]byte
}

// NewOSS starts a service that takes [AccessKey] with [SecretKey], and stops when the test
// ends.
func NewOSS(tb testing.TB) *OSS {
	tb.Helper()
	o := &OSS{tb: tb, address: "127.0.0.1:0", buckets: map[string]map[string]ossObject{}, uploads: map[string]*ossUpload{}}
	o.Start()
	tb.Cleanup(o.Stop)
	return o
}

// Start starts the service again after [OSS.Stop], with the same address and data.
func (o *OSS) Start() {
	o.tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(o.tb.Context(), "tcp", o.address)
	if err != nil {
		o.tb.Fatal(err)
	}
	o.address = listener.Addr().String()
	o.URL = "http://" + o.address
	o.server, o.ended = &http.Server{Handler: o, ReadHeaderTimeout: patience}, make(chan struct{})
	go func(server *http.Server, ended chan struct{}) {
		defer close(ended)
		_ = server.Serve(listener)
	}(o.server, o.ended)
}

// Stop stops the service. It does nothing if it is stopped already.
func (o *OSS) Stop() {
	if o.server != nil {
		_ = o.server.Close()
		<-o.ended
		o.server = nil
	}
}

// Client makes a client with the given secret, as a rule [SecretKey], whose connections are
// closed when the test ends.
func (o *OSS) Client(secret string) *oss.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	o.tb.Cleanup(transport.CloseIdleConnections)
	return oss.NewClient(oss.NewConfig().WithRegion(OSSRegion).WithEndpoint(o.URL).WithHttpClient(&http.Client{Transport: transport}).
		WithRetryMaxAttempts(1).WithCredentialsProvider(credentials.NewStaticCredentialsProvider(AccessKey, secret)))
}

// Bucket makes a bucket, if there is none of that name, and gives the files in it below a
// prefix, which may be empty.
func (o *OSS) Bucket(name, prefix string) *sink.OSS {
	o.tb.Helper()
	o.mu.Lock()
	if o.buckets[name] == nil {
		o.buckets[name] = map[string]ossObject{}
	}
	o.mu.Unlock()
	files, err := sink.NewOSS(o.Client(SecretKey), name, prefix)
	if err != nil {
		o.tb.Fatal(err)
	}
	return files
}

// Uploads counts the multipart uploads that are under way.
func (o *OSS) Uploads() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.uploads)
}

// ossRefusal is an answer that tells of an error.
type ossRefusal struct {
	status  int
	code    string
	message string
}

func (o *OSS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has left
	}
	w.Header().Set("X-Oss-Request-Id", "request-"+ulid.Make().String())
	refused := ossSigned(r)
	if refused == nil {
		refused = o.serve(w, r, body)
	}
	if refused == nil {
		return
	}
	text := fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message><RequestId>%s</RequestId></Error>", refused.code, refused.message, w.Header().Get("X-Oss-Request-Id"))
	if r.Method == http.MethodHead {
		w.Header().Set("X-Oss-Err", base64.StdEncoding.EncodeToString([]byte(text)))
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(refused.status)
	_, _ = io.WriteString(w, text)
}

func (o *OSS) serve(w http.ResponseWriter, r *http.Request, body []byte) *ossRefusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	objects, query := o.buckets[name], r.URL.Query()
	switch {
	case objects == nil:
		return &ossRefusal{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist."}
	case key == "" && query.Has("uploads"):
		return o.listUploads(w, name, query.Get("prefix"), query.Get("upload-id-marker"))
	case key == "":
		return o.list(w, objects, query.Get("prefix"), query.Get("continuation-token"))
	case query.Has("uploads"):
		id := ulid.Make().String()
		o.uploads[id] = &ossUpload{bucket: name, key: key, parts: map[int][]byte{}}
		return writeXML(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadID string   `xml:"UploadId"`
		}{UploadID: id})
	case query.Has("uploadId"):
		return o.upload(w, r, name, key, body)
	}
	return object(w, r, objects, key, body)
}

func object(w http.ResponseWriter, r *http.Request, objects map[string]ossObject, key string, body []byte) *ossRefusal {
	switch r.Method {
	case http.MethodPut:
		objects[key] = ossObject{data: body, modified: time.Now()}
		acknowledge(w, body)
		return nil
	case http.MethodDelete:
		delete(objects, key)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	found, ok := objects[key]
	if !ok {
		return &ossRefusal{http.StatusNotFound, "NoSuchKey", "The specified key does not exist."}
	}
	w.Header().Set("Last-Modified", found.modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(found.data)))
	_, _ = w.Write(found.data) // nothing is sent for HEAD
	return nil
}

// acknowledge says what has arrived; the client compares.
func acknowledge(w http.ResponseWriter, data []byte) {
	w.Header().Set("Etag", tag(data))
	w.Header().Set("X-Oss-Hash-Crc64ecma", strconv.FormatUint(crc64.Checksum(data, crc64.MakeTable(crc64.ECMA)), 10))
}

var tagSeed = maphash.MakeSeed()

// tag names the contents of a part.
func tag(data []byte) string { return fmt.Sprintf("%q", fmt.Sprint(maphash.Bytes(tagSeed, data))) }

func (o *OSS) upload(w http.ResponseWriter, r *http.Request, bucket, key string, body []byte) *ossRefusal {
	id := r.URL.Query().Get("uploadId")
	up := o.uploads[id]
	if up == nil || up.bucket != bucket || up.key != key {
		return &ossRefusal{http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist."}
	}
	switch r.Method {
	case http.MethodPut:
		number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
		if err != nil || number < 1 || number > 10_000 {
			return &ossRefusal{http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and 10000."}
		}
		up.parts[number] = body
		acknowledge(w, body)
	case http.MethodDelete:
		delete(o.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		whole, refused := up.join(body)
		if refused != nil {
			return refused
		}
		o.buckets[bucket][key] = ossObject{data: whole, modified: time.Now()}
		delete(o.uploads, id)
		return writeXML(w, struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			Key     string
		}{Key: key})
	}
	return nil
}

// join puts the parts together that a request names.
func (u *ossUpload) join(request []byte) ([]byte, *ossRefusal) {
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(request, &wanted); err != nil {
		return nil, &ossRefusal{http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed."}
	}
	var whole []byte
	last := 0
	for i, part := range wanted.Part {
		data, ok := u.parts[part.PartNumber]
		switch {
		case !ok || tag(data) != part.ETag:
			return nil, &ossRefusal{http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found."}
		case part.PartNumber <= last:
			return nil, &ossRefusal{http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order."}
		case i < len(wanted.Part)-1 && len(data) < ossMinPart:
			return nil, &ossRefusal{http.StatusBadRequest, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size."}
		}
		whole, last = append(whole, data...), part.PartNumber
	}
	return whole, nil
}

type ossEntry struct {
	Key          string
	Size         int       `xml:"Size,omitempty"`
	LastModified time.Time `xml:"LastModified,omitempty"`
	UploadID     string    `xml:"UploadId,omitempty"`
}

func (o *OSS) list(w http.ResponseWriter, objects map[string]ossObject, prefix, after string) *ossRefusal {
	var entries []ossEntry
	more := ""
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if len(entries) == ossPage {
			more = entries[ossPage-1].Key
			break
		}
		entries = append(entries, ossEntry{Key: key, Size: len(objects[key].data), LastModified: objects[key].modified})
	}
	return writeXML(w, struct {
		XMLName     xml.Name   `xml:"ListBucketResult"`
		Contents    []ossEntry `xml:"Contents"`
		IsTruncated bool
		Next        string `xml:"NextContinuationToken,omitempty"`
	}{Contents: entries, IsTruncated: more != "", Next: more})
}

func (o *OSS) listUploads(w http.ResponseWriter, bucket, prefix, after string) *ossRefusal {
	var entries []ossEntry
	more := ""
	for _, id := range slices.Sorted(maps.Keys(o.uploads)) {
		up := o.uploads[id]
		if up.bucket != bucket || !strings.HasPrefix(up.key, prefix) || id <= after {
			continue
		}
		if len(entries) == ossPage {
			more = entries[ossPage-1].UploadID
			break
		}
		entries = append(entries, ossEntry{Key: up.key, UploadID: id})
	}
	return writeXML(w, struct {
		XMLName     xml.Name   `xml:"ListMultipartUploadsResult"`
		Upload      []ossEntry `xml:"Upload"`
		IsTruncated bool
		Next        string `xml:"NextUploadIdMarker,omitempty"`
	}{Upload: entries, IsTruncated: more != "", Next: more})
}

func writeXML(w http.ResponseWriter, answer any) *ossRefusal {
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(answer); err != nil {
		return &ossRefusal{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	return nil
}
