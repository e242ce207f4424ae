package xingchen

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"xinghe/testlocal/emulator/fault"
)

// FilesPath is where pictures are served from.
const FilesPath = "/_emulator/files/"

// picture is one that was asked for.
type picture struct {
	MessageID string   `json:"messageId"`
	Account   string   `json:"account"`
	Users     []string `json:"users"`
	Prompt    string   `json:"prompt"`
	Started   int64    `json:"started"` // 0 for those that are born finished and never grow old
}

// startPicture begins a picture with the answer, if the character draws and was asked to. The caller holds the lock.
func (s *Server) startPicture(e *exchange) {
	if !s.cfg.Assume.ImageForEveryAnswer && (!e.persona.sendsImages || !asksForPicture(e.prompt.question())) {
		return
	}
	s.state.pictures[e.answerID] = &picture{
		MessageID: e.answerID, Account: e.call.account, Users: []string{e.req.Input.Aca.UserProfile.UserID},
		Prompt: e.prompt.question(), Started: s.cfg.Now().UnixMilli(),
	}
	s.state.dirty = true
}

func asksForPicture(question string) bool {
	question = strings.ToLower(question)
	return slices.ContainsFunc([]string{"画", "图", "照片", "自拍", "picture", "photo", "draw"}, func(word string) bool {
		return strings.Contains(question, word)
	})
}

// pictureState carries the addresses under both names that clients of the service read.
type pictureState struct {
	TaskID       string   `json:"taskId"`
	Status       string   `json:"status"`
	FileURLs     []string `json:"fileUrls"`
	FileURL      []string `json:"fileUrl"`
	ErrorMessage string   `json:"errorMessage,omitempty"`
}

func (s *Server) pollImage(c *call) (any, error) {
	query := c.r.URL.Query()
	messageID, userID := query.Get("messageId"), query.Get("userId")
	if messageID == "" {
		return nil, errParam.naming("messageId must not be empty")
	}
	if userID == "" {
		return nil, errParam.naming("userId must not be empty")
	}
	s.state.mu.RLock()
	p, known := s.state.pictures[messageID]
	s.state.mu.RUnlock()
	if !known || p.Account != c.account || !slices.Contains(p.Users, userID) {
		return nil, errNotFound.naming("picture of message %s", messageID)
	}
	return s.pictureState(c, p), nil
}

func (s *Server) pictureState(c *call, p *picture) pictureState {
	task := strings.ReplaceAll(p.MessageID, "-", "")
	state := pictureState{TaskID: task, Status: s.cfg.Assume.ImageRunning, FileURLs: []string{}, FileURL: []string{}}
	done := s.cfg.Now()
	if p.Started > 0 {
		done = time.UnixMilli(p.Started).Add(max(s.cfg.Assume.ImageDelay, 0))
	}
	switch {
	case c.plan.Has(fault.ImageStuck):
	case c.plan.Has(fault.ImageFailed):
		state.Status, state.ErrorMessage = s.cfg.Assume.ImageFailed, "the picture could not be made"
	case !s.cfg.Now().Before(done):
		expires := done.Add(s.cfg.Assume.ImageLifetime)
		if c.plan.Has(fault.ImageExpired) {
			expires = s.cfg.Now().Add(-time.Minute)
		}
		state.Status = s.cfg.Assume.ImageSuccess
		state.FileURLs = []string{s.pictureAddress(c.r, task, expires)}
		state.FileURL = state.FileURLs
	}
	return state
}

func (s *Server) pictureAddress(r *http.Request, task string, expires time.Time) string {
	base := strings.TrimSuffix(s.cfg.PublicURL, "/")
	if base == "" {
		base = "http://" + r.Host
	}
	until := strconv.FormatInt(expires.Unix(), 10)
	name := task + ".png"
	query := url.Values{"Expires": {until}, "Signature": {s.signer.sign(name, until)}}
	return base + FilesPath + name + "?" + query.Encode()
}

// ServeFile serves a picture below [FilesPath] as long as its address is good; errors are JSON.
func (s *Server) ServeFile(w http.ResponseWriter, r *http.Request) {
	plan := s.cfg.Faults.Match(r.Context(), fault.Request{Route: FilesPath})
	if !plan.Begin(w, r) {
		return
	}
	status, key := http.StatusOK, ""
	name := strings.TrimPrefix(r.URL.Path, FilesPath)
	query := r.URL.Query()
	until, err := strconv.ParseInt(query.Get("Expires"), 10, 64)
	refusal, refused := plan.Refusal()
	switch {
	case refused:
		refusal.SetHeader(w)
		status, key = refusal.Status, "Unavailable"
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		status, key = http.StatusMethodNotAllowed, "MethodNotAllowed"
	case err != nil || !s.signer.verify(name, query.Get("Expires"), query.Get("Signature")):
		status, key = http.StatusForbidden, "AccessDenied"
	case s.cfg.Now().Unix() > until:
		status, key = http.StatusForbidden, "RequestExpired"
	}
	if key != "" {
		_ = plan.Respond(r.Context(), w, status, jsonType, []byte(`{"code":"`+key+`"}`))
		return
	}
	_ = plan.Respond(r.Context(), w, status, "image/png", drawPicture(hash64(s.cfg.Seed, name)))
}

// addressSigner makes addresses that cannot be guessed.
type addressSigner struct{ key [8]byte }

func newAddressSigner(seed uint64) addressSigner {
	var s addressSigner
	binary.BigEndian.PutUint64(s.key[:], scramble(seed))
	return s
}

func (s addressSigner) sign(name, until string) string {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(name + "\n" + until))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (s addressSigner) verify(name, until, signature string) bool {
	return hmac.Equal([]byte(s.sign(name, until)), []byte(signature))
}
