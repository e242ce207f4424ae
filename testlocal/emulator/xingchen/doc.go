// Package xingchen is a local stand-in for the Xingchen HTTP API: characters, chat (streamed and not), histories, ratings,
// reminders and pictures, kept in memory or in a data folder, with replies written from a script.
//
//	server, err := xingchen.New(xingchen.Config{Keys: []string{"lm-local"}, Faults: fault.New(1)})
//	http.Handle("/v2/api/", server)
//
// It follows the vendor's HTTP pages on custom characters, platform characters, character management, histories and
// picture polling. Where those are silent, a field of [Assumptions] says what it does instead. It checks keys, headers and
// parameters as the service does and answers every error in JSON. It calls no model by itself, see [Replier], and knows
// nothing of the endpoints of knowledge bases, documents and workflows.
package xingchen
