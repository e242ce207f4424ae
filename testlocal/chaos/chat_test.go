package chaos

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"xinghe/shared/jobs"
	"xinghe/shared/sink"
	"xinghe/shared/xingchen"
	"xinghe/testlocal/emulator"
)

// BenchmarkChat tells how long streamed chats take beside an export that uses up the budget
// they share, as a ratio to chats without it, each round by itself. A round is 30 chats
// without and 30 with, by two users, who together need a third of the budget.
func BenchmarkChat(b *testing.B) {
	const (
		rate  = 20                     // requests a second
		users = 2                      // who chat at a time
		chats = 15                     // that each of them holds, one after another
		pause = 300 * time.Millisecond // from the beginning of a chat to that of the next
	)
	h := tied(5_000_000, 50)
	up := startPaced(b, h, emulator.DefaultPace)
	brokers := startBrokers(b, 1)
	q := connect(b, brokers)
	shared := []string{
		"NATS_URL=" + addresses(brokers), "XINGCHEN_BASE_URL=" + up.url, "XINGCHEN_API_KEY=" + emulator.DefaultXingchenKey, "XINGCHEN_RPS=" + strconv.Itoa(rate),
	}
	folder := b.TempDir()
	to, err := sink.NewFolder(folder)
	if err != nil {
		b.Fatal(err)
	}
	startCrew(b, append(slices.Clone(shared), "XINGHE_WORKERS=export", "XINGHE_SINK=folder:"+folder))
	client := startChat(b, shared)
	f := newFront(b, q, to)

	var middle, slowest []float64
	for round := 0; b.Loop(); round++ {
		alone := chatAll(b, client, users, chats, pause)
		id := f.start(specOf(h, fmt.Sprintf("chat-%d", round)))
		began := len(loadOf(up.Requests()).at)
		poll(b, "the export is under way", func() bool { return len(loadOf(up.Requests()).at) > began+rate })
		beside := chatAll(b, client, users, chats, pause)
		if status, _, text := f.ask(http.MethodPost, "/v1/exports/"+id+"/cancel", ""); status >= 300 {
			b.Fatalf("cancel: %d %s", status, text)
		}
		if e := f.await(id, patience); e.State != jobs.StateCancelled {
			b.Fatalf("the export is %s: it ended while chats were timed", e.State)
		}
		middle = append(middle, ratio(beside, alone, 50))
		slowest = append(slowest, ratio(beside, alone, 95))
	}
	b.ReportMetric(percentile(middle, 50), "p50-ratio")
	b.ReportMetric(percentile(slowest, 50), "p95-ratio")
}

// startChat starts the chat function, and returns a client of it.
func startChat(tb testing.TB, env []string) *xingchen.Client {
	tb.Helper()
	address := at(freePort(tb))
	function := launch(tb, journal(tb, "chat.log"), append(slices.Clone(env), "XINGHE_ADDR="+address, "XINGHE_API_KEYS=k"), build(tb, "functions/chat"))
	tb.Cleanup(function.kill)
	hello := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	poll(tb, "the chat function answers", func() bool {
		resp, err := hello.Get("http://" + address + "/healthz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return dial(tb, "http://"+address, "k")
}

// chatAll has some users hold chats and returns how long each took, in seconds.
func chatAll(tb testing.TB, client *xingchen.Client, users, chats int, pause time.Duration) []float64 {
	tb.Helper()
	took := make([][]float64, users)
	var group errgroup.Group
	for user := range users {
		group.Go(func() error {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for range chats {
				began := time.Now()
				if err := chat(tb.Context(), client, "chat-"+strconv.Itoa(user)); err != nil {
					return err
				}
				took[user] = append(took[user], time.Since(began).Seconds())
				<-tick.C
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	return slices.Concat(took...)
}

func chat(ctx context.Context, client *xingchen.Client, user string) error {
	stream, err := client.Stream(ctx, xingchen.ChatRequest{
		Input: xingchen.ChatInput{
			Messages: []xingchen.Message{{Role: "user", Content: "你今年多大"}},
			ACA: xingchen.ACA{
				BotProfile:  xingchen.BotProfile{CharacterID: "c39797a35ad243f1a85baaa6e1ec37e0"},
				UserProfile: xingchen.UserProfile{UserID: user},
			},
		},
		Parameters: &xingchen.Parameters{IncrementalOutput: true},
	})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for _, err := range stream.Frames() {
		if err != nil {
			return err
		}
	}
	return nil
}

// ratio is that of a percentile of two measurements.
func ratio(one, other []float64, percent int) float64 {
	return percentile(one, percent) / percentile(other, percent)
}

func percentile(values []float64, percent int) float64 {
	slices.Sort(values)
	return values[(len(values)-1)*percent/100]
}
