// Package sinktest gives a test the services that sinks write to. [Gateway] is a real S3
// service, versitygw over a folder, started as a process on a free loopback port: what works
// with it is likely to work with others. [OSS] only imitates Alibaba Cloud's.
package sinktest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"xinghe/shared/sink"
)

// The credentials that a [Gateway] takes, and its region.
const (
	AccessKey = "local-access"
	SecretKey = "local-secret"
	Region    = "us-east-1"
)

// patience is how long a gateway may take to start.
const patience = 20 * time.Second

// Gateway is a running S3 service. Its data are in Folder, below which each bucket is a
// folder of its own.
type Gateway struct {
	// URL is the service's address.
	URL string
	// Folder that the buckets are in.
	Folder string

	tb      testing.TB
	side    string // attributes of objects, which not every file system can keep
	program string
	address string
	process *exec.Cmd
	exited  chan struct{}
}

// New starts a gateway, which stops when the test ends. The test is skipped if the program
// versitygw is neither in the PATH nor in the folder bin of the repository.
func New(tb testing.TB) *Gateway {
	tb.Helper()
	program, err := find()
	if err != nil {
		tb.Skipf("S3 is not tested: %v", err)
	}
	g := &Gateway{tb: tb, program: program, Folder: tb.TempDir(), side: tb.TempDir()}
	for try := 0; ; try++ {
		g.address = free(tb)
		g.URL = "http://" + g.address
		if g.Start() {
			break
		}
		if try == 5 {
			tb.Fatal("versitygw does not start")
		}
	}
	tb.Cleanup(g.Stop)
	return g
}

func find() (string, error) {
	const name = "versitygw"
	if program, err := exec.LookPath(name); err == nil {
		return program, nil
	}
	_, here, _, _ := runtime.Caller(0)
	program := filepath.Join(filepath.Dir(here), "..", "..", "..", "bin", name)
	if _, err := os.Stat(program); err != nil {
		return "", errors.New(name + " is not installed; go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	}
	return program, nil
}

// free is an address that nobody listens at.
func free(tb testing.TB) string {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// Start starts the gateway again after [Gateway.Stop], at the same address and with the same
// data. It reports false if the program ended at once.
func (g *Gateway) Start() bool {
	g.tb.Helper()
	g.process = exec.Command(g.program, "--port", g.address, "--quiet", "posix", "--sidecar", g.side, g.Folder) //nolint:gosec,noctx // ended by Stop
	g.process.Env = []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey, "HOME=" + g.Folder}
	if err := g.process.Start(); err != nil {
		g.tb.Fatal(err)
	}
	exited := make(chan struct{})
	g.exited = exited
	go func(process *exec.Cmd) {
		_ = process.Wait()
		close(exited)
	}(g.process)
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(patience); ; {
		if resp, err := client.Get(g.URL + "/"); err == nil { //nolint:noctx // bounded by the client
			_ = resp.Body.Close()
			return true
		}
		select {
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			g.Stop()
			g.tb.Fatalf("versitygw does not answer after %s", patience)
		}
	}
}

// Stop kills the gateway. It does nothing if it is stopped already.
func (g *Gateway) Stop() {
	if g.process != nil {
		_ = g.process.Process.Kill()
		<-g.exited
		g.process = nil
	}
}

// Env are the variables by which the AWS SDK finds the gateway.
func (g *Gateway) Env() []string {
	return []string{"AWS_ENDPOINT_URL_S3=" + g.URL, "AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_REGION=" + Region}
}

// Client makes a client with the given secret, as a rule [SecretKey], whose connections are
// closed when the test ends.
func (g *Gateway) Client(secret string) *s3.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	g.tb.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(g.URL), UsePathStyle: true, Region: Region, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, secret, ""), RetryMaxAttempts: 1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// Bucket makes a bucket, if there is none of that name, and gives the files in it below a
// prefix, which may be empty.
func (g *Gateway) Bucket(name, prefix string) *sink.S3 {
	g.tb.Helper()
	client := g.Client(SecretKey)
	ctx, cancel := context.WithTimeout(g.tb.Context(), patience)
	defer cancel()
	if _, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name}); err != nil {
		if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
			g.tb.Fatalf("make bucket %s: %v", name, err)
		}
	}
	files, err := sink.NewS3(client, name, prefix)
	if err != nil {
		g.tb.Fatal(err)
	}
	return files
}
