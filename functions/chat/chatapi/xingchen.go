package chatapi

import (
	"net/http"

	"xinghe/shared/desk"
	"xinghe/shared/httpapi"
	"xinghe/shared/relay"
	"xinghe/shared/xingchen"
)

// xingchenHandler serves Xingchen's own routes.
type xingchenHandler struct {
	relay relay.Xingchen
	desk  desk.Desk
}

func newXingchenHandler(cfg Config) *xingchenHandler {
	return &xingchenHandler{
		relay: relay.Xingchen{Client: cfg.Xingchen, Heartbeat: cfg.Heartbeat, Disconnect: cfg.Disconnect, Text: cfg.EventText, Output: cfg.Output, ParallelKeys: cfg.ParallelKeys},
		desk:  cfg.desk("xingchen", cfg.XingchenBudget),
	}
}

// send is a role chat: checked, in its turn, within the budget.
func (x *xingchenHandler) send(w http.ResponseWriter, r *http.Request) error {
	if isWorkflow(r.Header) {
		return x.forward(w, r) // its body has another form
	}
	return x.converse(w, r, (*chatBody).check)
}

// sendToGroup is a chat among several characters, whose body upstream checks but for the
// user.
func (x *xingchenHandler) sendToGroup(w http.ResponseWriter, r *http.Request) error {
	return x.converse(w, r, (*chatBody).checkUser)
}

func (x *xingchenHandler) converse(w http.ResponseWriter, r *http.Request, check func(*chatBody) error) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	chat, err := readChat(body)
	if err != nil {
		return err
	}
	if err := check(chat); err != nil {
		return err
	}
	call, err := routed(r, body)
	if err != nil {
		return err
	}
	mode := relay.ModeOf(r.Header, chat.Parameters.IncrementalOutput || chat.Parameters.Incremental)
	return x.desk.Serve(r, chat.conversation(mode), func(o *relay.Outcome) error { return x.relay.Serve(w, r, call, mode, o) })
}

// forward hands a request on as it is; upstream checks it.
func (x *xingchenHandler) forward(w http.ResponseWriter, r *http.Request) error {
	body, err := httpapi.ReadBody(r)
	if err != nil {
		return err
	}
	call, err := routed(r, body)
	if err != nil {
		return err
	}
	if err := x.desk.Spend(r.Context()); err != nil {
		return err
	}
	mode := relay.Whole
	if call.Route.Streams() {
		mode = relay.ModeOf(r.Header, false)
	}
	err = x.relay.Serve(w, r, call, mode, relay.NewOutcome())
	x.desk.Heed(err)
	return err
}

// routed is the call upstream for a request. A service that the header names otherwise than
// the path is taken from the header: the workflow service shares its path with role chat.
func routed(r *http.Request, body []byte) (*xingchen.Call, error) {
	route, ok := xingchen.RouteFor(r.Method, r.URL.Path)
	if !ok {
		return nil, httpapi.NotFound(r.Method + " " + r.URL.Path)
	}
	call := &xingchen.Call{Route: route, Path: r.URL.EscapedPath(), Body: body}
	if r.URL.RawQuery != "" {
		call.Query = r.URL.Query()
	}
	if isWorkflow(r.Header) {
		call.Service = r.Header.Get(xingchen.HeaderService)
	}
	return call, nil
}
