package xingchen_test

import (
	"bytes"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"
)

type pictureData struct {
	TaskID, Status, ErrorMessage string
	FileURLs, FileURL            []string
}

func TestPicture(t *testing.T) {
	t.Parallel()
	b := setup(t)
	said := b.chat(chatBody(wan, "u", "给我画一张星空"))
	poll := func() pictureData {
		a := b.get("lm-local", "/v2/api/chat/polling/image", "messageId="+said.Context.MessageID+"&userId=u")
		if a.Status != 200 {
			t.Fatalf("poll: %s", a.Raw)
		}
		return decodeData[pictureData](t, a)
	}
	if got := poll(); got.Status != "running" || len(got.FileURLs) != 0 {
		t.Errorf("at once: %+v", got)
	}
	b.clock.advance(2 * time.Second)
	got := poll()
	if got.Status != "success" || len(got.FileURLs) != 1 || got.FileURL[0] != got.FileURLs[0] {
		t.Fatalf("after two seconds: %+v", got)
	}
	fetch := func(address string) answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b.do(req)
	}
	file := fetch(got.FileURLs[0])
	if file.Status != 200 || file.ContentType != "image/png" {
		t.Fatalf("picture: status %d, %s", file.Status, file.ContentType)
	}
	if img, err := png.Decode(bytes.NewReader(file.Raw)); err != nil || img.Bounds().Dx() != 256 {
		t.Errorf("picture: %v", err)
	}
	if tampered := fetch(strings.Replace(got.FileURLs[0], "Expires=1", "Expires=2", 1)); tampered.Status != http.StatusForbidden {
		t.Errorf("tampered address: %d", tampered.Status)
	}
	b.clock.advance(2 * time.Hour)
	if late := fetch(got.FileURLs[0]); late.Status != http.StatusForbidden || !strings.HasPrefix(late.ContentType, "application/json") {
		t.Errorf("expired address: %d %s", late.Status, late.ContentType)
	}
	plain := b.chat(chatBody(wan, "u", "你好"))
	refusedWith(t, b.get("lm-local", "/v2/api/chat/polling/image", "messageId="+plain.Context.MessageID+"&userId=u"), 404, "aca.error.notfound", "")
}
