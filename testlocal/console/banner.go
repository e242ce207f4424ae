// Package console is what a person sees of the local stack: what has started and what to
// try next, and the demo that walks through the whole system as a client would.
package console

import (
	"cmp"
	"fmt"
	"io"

	"xinghe/shared/sign"
	"xinghe/testlocal/stack"
)

// Banner says where the parts of a stack are and what to try next.
func Banner(w io.Writer, s *stack.Stack) {
	_, _ = fmt.Fprintf(w, `Xinghe runs on this machine.

  front door  %[1]s   all functions; key %[3]s
  emulator    %[2]s   Xingchen and Beebot; point your own code at it
  NATS        %[4]s
  files       %[5]s

Try:

  curl -N %[1]s/v2/api/chat/send \
    -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' -H 'X-AcA-SSE: enable' \
    -d '{"input":{"messages":[{"role":"user","content":"你今年多大"}],"aca":{"botProfile":{"characterId":"c39797a35ad243f1a85baaa6e1ec37e0"},"userProfile":{"userId":"1234567"}}}}'

  curl -N %[1]s/v1/beebot/chatbot-cn-local/chat \
    -H 'Authorization: Bearer %[3]s' -H 'Content-Type: application/json' \
    -d '{"utterance":"你有什么技能?","stream":true}'

Ctrl-C stops everything.
`, s.URL, s.EmulatorURL, cmp.Or(s.Key, "YOUR-KEY"), sign.Redact(s.NATSURL), s.Data)
}
