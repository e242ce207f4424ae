package natstest_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"xinghe/testlocal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

func TestKeepsItsDataAndAddress(t *testing.T) {
	t.Parallel()
	srv := natstest.Listen(t, "user", "secret")
	address := srv.URL()
	if _, err := nats.Connect(address); err == nil {
		t.Fatal("connected without a password")
	}
	conn, err := nats.Connect(address, nats.UserInfo("user", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	srv.Stop()
	srv.Stop()
	if srv.URL() != "" {
		t.Error("a stopped server has an address")
	}
	srv.Start()
	if srv.URL() != address {
		t.Errorf("address %s, was %s", srv.URL(), address)
	}
	conn, err = nats.Connect(address, nats.UserInfo("user", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "S"); err != nil {
		t.Error(err)
	}
}
