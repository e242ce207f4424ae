package xingchen_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"xinghe/shared/sign"
	"xinghe/shared/upstream"
	"xinghe/shared/xingchen"
)

func TestNewReportsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := xingchen.New(xingchen.Config{BaseURL: "nlp.aliyuncs.com", Timeout: -1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"BaseURL", "APIKey", "Timeout"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error does not name %s: %v", field, err)
		}
	}
	_, err = xingchen.New(xingchen.Config{APIKey: sign.NewSecret(canary + "\r\nX: y")})
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a key with a line break: %v", err)
	}
	if _, err := xingchen.New(xingchen.Config{APIKey: sign.NewSecret(canary)}); err != nil {
		t.Errorf("the defaults do not do: %v", err)
	}
}

// sent is what an upstream saw of a request.
type sent struct {
	Method, URI, Service, App, Auth, Type, Accept, SSE, Inspect, RequestID, Body string
}

func record(into *sent, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*into = sent{
			Method: r.Method, URI: r.RequestURI, Service: r.Header.Get("x-fag-servicename"), App: r.Header.Get("x-fag-appcode"),
			Auth: r.Header.Get("Authorization"), Type: r.Header.Get("Content-Type"), Accept: r.Header.Get("Accept"),
			SSE: r.Header.Get("X-AcA-SSE"), Inspect: r.Header.Get("X-AcA-DataInspection"), RequestID: r.Header.Get("x-request-id"),
			Body: string(body),
		}
		next(w, r)
	}
}

func TestTypedCalls(t *testing.T) {
	t.Parallel()
	const yes = `{"requestId":"r","code":200,"data":true,"success":true}`
	character := xingchen.CharacterRef{CharacterID: "c1777d6d7ce14abdba81453126818825"}
	for name, test := range map[string]struct {
		answer string
		call   func(context.Context, *xingchen.Client) (any, error)
		want   any
		sent   sent
	}{
		"Chat": {
			answer: `{"code":200,"success":true,"data":{"choices":[{"messages":[{"role":"assistant","content":"你多大了?","finishReason":"stop"}],"stopReason":"stop"}],"stop":true,"unknown":[1]}}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				result, err := c.Chat(ctx, chatRequest(), xingchen.WithDataInspection(), xingchen.WithRequestID("trace-1"))
				return result.Text() + "/" + result.FinishReason(), err
			},
			want: "你多大了?/stop",
			sent: sent{
				Method: "POST", URI: "/v2/api/chat/send", Service: "aca-chat-send", Inspect: "enable", RequestID: "trace-1",
				Body: `{"input":{"messages":[{"role":"user","content":"你有几个闺蜜?"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},"userProfile":{"userId":"123456789","basicInfo":""}}}}`,
			},
		},
		"Histories": {
			answer: `{"code":200,"success":true,"data":{"list":[{"messageId":"m","chatId":"h","sessionId":"s","content":"你多大了?","messageType":"character","messageIssuer":{"userId":"c","userName":"小婉","userType":"character"},"gmtCreate":1716342894244,"isGreeting":false,"rating":4.5,"regenerateTimes":0}],"page":1,"pageSize":20,"total":1,"pageOffsetValue":0}}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return c.Histories(ctx, decode[xingchen.HistoryQuery](t, fixture(t, "xingchen-histories-request.json")))
			},
			want: xingchen.Page[xingchen.HistoryMessage]{
				Page: 1, PageSize: 20, Total: 1,
				List: []xingchen.HistoryMessage{{
					MessageID: "m", ChatID: "h", SessionID: "s", Content: "你多大了?", MessageType: "character",
					MessageIssuer: xingchen.MessageIssuer{UserID: "c", UserName: "小婉", UserType: "character"},
					GmtCreate:     1716342894244, Rating: new(4.5),
				}},
			},
			sent: sent{
				Method: "POST", URI: "/v2/api/chat/message/histories", Service: "aca-message-history",
				Body: `{"where":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0","bizUserId":"1234567","startTime":1689783510026},"orderBy":["gmtCreate desc"],"pageSize":20}`,
			},
		},
		"Rate": {
			answer: yes,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return nil, c.Rate(ctx, decode[xingchen.RatingRequest](t, fixture(t, "xingchen-rating-request.json")))
			},
			sent: sent{Method: "POST", URI: "/v2/api/chat/rating", Service: "aca-message-rating", Body: `{"messageId":"a4d8ae9dbcd54d9196cd20afeb7a3059","rating":5}`},
		},
		"Remind": {
			answer: `{"code":200,"success":true}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return nil, c.Remind(ctx, xingchen.ReminderRequest{CharacterID: "c", BizUserID: "u", Content: "最近为什么不理我啊?"})
			},
			sent: sent{Method: "POST", URI: "/v2/api/chat/reminder", Service: "aca-chat-reminder", Body: `{"characterId":"c","bizUserId":"u","content":"最近为什么不理我啊?"}`},
		},
		"PollImage": {
			answer: `{"code":200,"success":true,"data":{"taskId":"t","status":"success","fileUrl":["http://h/a.png"]}}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return c.PollImage(ctx, "8b9df7b9-f15b-4377-9e41-9a3e75ca6af7", "1&2")
			},
			want: xingchen.Image{TaskID: "t", Status: "success", FileURLs: []string{"http://h/a.png"}},
			sent: sent{Method: "GET", URI: "/v2/api/chat/polling/image?messageId=8b9df7b9-f15b-4377-9e41-9a3e75ca6af7&userId=1%262", Service: "aca-polling-image"},
		},
		"Reset": {
			answer: yes,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return nil, c.Reset(ctx, xingchen.ResetRequest{CharacterID: "c", UserID: "u"})
			},
			sent: sent{Method: "POST", URI: "/v2/api/chat/reset", Service: "aca-chat-reset", Body: `{"characterId":"c","userId":"u"}`},
		},
		"Stop": {
			answer: yes,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return nil, c.Stop(ctx, xingchen.StopRequest{SessionID: "s", RequestID: "r", Content: "从前"})
			},
			sent: sent{Method: "POST", URI: "/v2/api/chat/stop", Service: "aca-chat-stop", Body: `{"sessionId":"s","requestId":"r","content":"从前"}`},
		},
		"CreateCharacter": {
			answer: `{"code":200,"success":true,"data":{"characterId":"c1777d6d7ce14abdba81453126818825","version":1}}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return c.CreateCharacter(ctx, xingchen.CharacterSpec{Name: "n", Introduction: "i", BasicInformation: "b", OpeningLine: "o"})
			},
			want: xingchen.CharacterRef{CharacterID: character.CharacterID, Version: 1},
			sent: sent{Method: "POST", URI: "/v2/api/character/create", Service: "aca-character-create", Body: `{"name":"n","introduction":"i","basicInformation":"b","openingLine":"o"}`},
		},
		"UpdateCharacter": {
			answer: yes,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return nil, c.UpdateCharacter(ctx, xingchen.CharacterUpdate{CharacterRef: character, CharacterSpec: xingchen.CharacterSpec{Name: "n"}})
			},
			sent: sent{
				Method: "POST", URI: "/v2/api/character/update", Service: "aca-character-update",
				Body: `{"characterId":"c1777d6d7ce14abdba81453126818825","name":"n","introduction":"","basicInformation":"","openingLine":""}`,
			},
		},
		"CharacterDetails": {
			answer: `{"code":200,"success":true,"data":{"characterId":"c","version":2,"name":"n","gmtCreate":1,"versions":[1,2]}}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return c.CharacterDetails(ctx, xingchen.CharacterRef{CharacterID: "c", Version: 2})
			},
			want: xingchen.Character{
				CharacterRef:  xingchen.CharacterRef{CharacterID: "c", Version: 2},
				CharacterSpec: xingchen.CharacterSpec{Name: "n"}, GmtCreate: 1, Versions: []int{1, 2},
			},
			sent: sent{Method: "GET", URI: "/v2/api/character/details?characterId=c&version=2", Service: "aca-character-details"},
		},
		"SearchCharacters": {
			answer: `{"code":200,"success":true,"data":{"list":[{"characterId":"c"}],"page":1,"pageSize":10,"total":1}}`,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return c.SearchCharacters(ctx, decode[xingchen.CharacterQuery](t, fixture(t, "xingchen-character-search-request.json")))
			},
			want: xingchen.Page[xingchen.Character]{Page: 1, PageSize: 10, Total: 1, List: []xingchen.Character{{CharacterRef: xingchen.CharacterRef{CharacterID: "c"}}}},
			sent: sent{
				Method: "POST", URI: "/v2/api/character/search", Service: "aca-character-search",
				Body: `{"where":{"scope":"my"},"orderBy":["gmtModified desc"],"pageNum":1,"pageSize":10}`,
			},
		},
		"DeleteCharacter": {
			answer: yes,
			call: func(ctx context.Context, c *xingchen.Client) (any, error) {
				return nil, c.DeleteCharacter(ctx, character)
			},
			sent: sent{Method: "POST", URI: "/v2/api/character/delete", Service: "aca-character-delete", Body: `{"characterId":"c1777d6d7ce14abdba81453126818825"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var saw sent
			client := setup(t, record(&saw, answerJSON(test.answer)))
			got, err := test.call(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			test.sent.App, test.sent.Auth = "aca", "Bearer "+canary
			test.sent.Type, test.sent.Accept = "application/json", "application/json"
			if diff := cmp.Diff(test.sent, saw); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChatDecodesTheDocumentedAnswers(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ text, answer, room string }{
		"xingchen-chat-platform-response.json": {"你多大了?", "6cf73db21a9f4963a212df8b7fc5de8e", "80473 true"},
		"xingchen-chat-custom-response.json":   {"听起来很不错,我们可以去找一些有趣的地方拍照。", "45a5e041937841bc83549387d8580b31", "0 false"},
	} {
		client := setup(t, answerJSON(string(fixture(t, name))))
		got, err := client.Chat(t.Context(), chatRequest())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		room := fmt.Sprint(got.Context.ChatRoomID, " ", got.Context.IsSave)
		if got.Text() != want.text || got.Context.Answer() != want.answer || room != want.room || !got.Stop || got.Usage == nil || got.FinishReason() != "stop" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestCallsThatReportFalseFail(t *testing.T) {
	t.Parallel()
	client := setup(t, answerJSON(`{"code":200,"success":true,"data":false}`))
	err := client.Rate(t.Context(), xingchen.RatingRequest{MessageID: "m", Rating: 1})
	if _, ok := errors.AsType[*xingchen.Error](err); !ok {
		t.Errorf("got %v, want *Error", err)
	}
}

func TestDoPassesBodiesUntouched(t *testing.T) {
	t.Parallel()
	const body = "{ \"input\" : {\"future\":[1,2.50,\"\\u4f60\"]} ,\n\"x\":null}"
	const answer = `{ "code": 200, "success": true, "data": {"future": 1.0}}`
	var saw sent
	client := setup(t, record(&saw, answerJSON(answer)))
	got, err := client.Do(t.Context(), &xingchen.Call{
		Route: chatRoute(t), Body: []byte(body), Service: "aca-flow-chat-send", Query: url.Values{"a": {"b c"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if saw.Body != body || saw.Service != "aca-flow-chat-send" || saw.URI != "/v2/api/chat/send?a=b+c" {
		t.Errorf("sent %+v", saw)
	}
	if string(got.Body) != answer || got.Status != http.StatusOK || got.Header.Get("Content-Type") == "" {
		t.Errorf("got %d %v %s", got.Status, got.Header, got.Body)
	}
}

func TestDoKeepsABasePath(t *testing.T) {
	t.Parallel()
	var saw sent
	client := setup(t, record(&saw, answerJSON(`{"code":200,"success":true}`)), func(cfg *xingchen.Config) { cfg.BaseURL += "/proxy/" })
	route, _ := xingchen.RouteFor(http.MethodGet, "/v2/api/character/versions/abc")
	if _, err := client.Do(t.Context(), &xingchen.Call{Route: route, Path: "/v2/api/character/versions/abc"}); err != nil {
		t.Fatal(err)
	}
	if saw.URI != "/proxy/v2/api/character/versions/abc" || saw.Service != "aca-character-versions" {
		t.Errorf("sent %+v", saw)
	}
}

func TestDoRefusesPathsOutsideTheAPI(t *testing.T) {
	t.Parallel()
	client := setup(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	for _, path := range []string{"/", "/v1/x", "/v2/api/../../x", "/v2/api/x?y=z", "/v2/api/x#y", "/v2/api/versions/{characterId}", "/v2/api/%zz", "/v2/api/a b\n"} {
		_, err := client.Do(t.Context(), &xingchen.Call{Route: chatRoute(t), Path: path})
		if _, ok := errors.AsType[*upstream.FieldError](err); !ok {
			t.Errorf("%q: got %v, want *FieldError", path, err)
		}
	}
}

func TestDoCapsTheAnswer(t *testing.T) {
	t.Parallel()
	client := setup(t, answerJSON(`{"success":true,"data":"`+strings.Repeat("x", 1000)+`"}`), func(cfg *xingchen.Config) { cfg.MaxResponseBytes = 100 })
	if _, err := client.Do(t.Context(), &xingchen.Call{Route: chatRoute(t)}); !errors.Is(err, upstream.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestRequestsCanBeSentAgainByTheTransport(t *testing.T) {
	t.Parallel()
	client := setup(t, nil, func(cfg *xingchen.Config) {
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.GetBody == nil || r.ContentLength != int64(len(`{"messageId":"m","rating":1}`)) {
				t.Errorf("GetBody = %v, ContentLength = %d", r.GetBody != nil, r.ContentLength)
			}
			return nil, errors.New("enough")
		})
	})
	err := client.Rate(t.Context(), xingchen.RatingRequest{MessageID: "m", Rating: 1})
	if network, ok := errors.AsType[*upstream.NetworkError](err); !ok || network.Timeout() {
		t.Errorf("got %v, want a NetworkError that is no time-out", err)
	}
}

func TestDoTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := setupSilent(t)
		start := time.Now()
		_, err := client.Do(t.Context(), &xingchen.Call{Route: chatRoute(t)})
		network, ok := errors.AsType[*upstream.NetworkError](err)
		if !ok || !network.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("after %v: got %v, want a NetworkError that is a time-out", time.Since(start), err)
		}
	})
}

func TestDoGivesUpWithTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := setupSilent(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.Do(ctx, &xingchen.Call{Route: chatRoute(t)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if _, err := client.Open(ctx, &xingchen.Call{Route: chatRoute(t)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

// setupSilent returns a client whose upstream never answers.
func setupSilent(t *testing.T) *xingchen.Client {
	t.Helper()
	client, err := xingchen.New(xingchen.Config{APIKey: sign.NewSecret(canary), Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	client := setup(t, nil, func(cfg *xingchen.Config) { cfg.BaseURL = "http://127.0.0.1:1" })
	_, doErr := client.Do(t.Context(), &xingchen.Call{Route: chatRoute(t)})
	_, openErr := client.Open(t.Context(), &xingchen.Call{Route: chatRoute(t)})
	for _, err := range []error{doErr, openErr} {
		network, ok := errors.AsType[*upstream.NetworkError](err)
		if !ok || network.Timeout() || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v, want a NetworkError that is no time-out", err)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, route := range xingchen.Routes() {
		path := strings.NewReplacer("{characterId}", "c1").Replace(route.Path)
		got, ok := xingchen.RouteFor(route.Method, path)
		if !ok || got != route {
			t.Errorf("RouteFor(%s %s) = %+v, %v, want %+v", route.Method, path, got, ok, route)
		}
		if seen[route.Service] {
			t.Errorf("service %s stands twice", route.Service)
		}
		seen[route.Service] = true
		if !strings.HasPrefix(route.Path, "/v2/api/") || !strings.HasPrefix(route.Service, "aca-") {
			t.Errorf("odd route %+v", route)
		}
	}
	for _, unknown := range [][2]string{
		{"GET", "/v2/api/chat/send"},
		{"POST", "/v2/api/chat/send/"},
		{"POST", "/v2/api/nothing"},
		{"GET", ""},
		{"GET", "/v2/api/character/versions/"},
		{"GET", "/v2/api/character/versions"},
		{"GET", "/v2/api/character/versions/a/b"},
	} {
		if route, ok := xingchen.RouteFor(unknown[0], unknown[1]); ok {
			t.Errorf("RouteFor(%v) = %+v", unknown, route)
		}
	}
	if route := chatRoute(t); !route.Streams() || route.StreamService != "aca-chat-send-sse" || route.Service != "aca-chat-send" {
		t.Errorf("role chat = %+v", route)
	}
}
