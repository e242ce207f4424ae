// Package bench measures what the chat function's front door costs, as ratios to
// [net/http/httputil.ReverseProxy] in the same run, and soaks it in faults. It has no code
// for others to use.
//
//	go test -run '^$' -bench Gateway ./testlocal/bench              # the figures, about two minutes
//	go test -run '^$' -bench Gateway/stream ./testlocal/bench -rounds 9
//	go test -run '^$' -bench Gateway -benchtime 1x ./testlocal/bench  # only that it works; its figures mean nothing
//	XINGHE_SOAK=1 go test -run TestSoak -v ./testlocal/bench        # 2,000 streams for two minutes
//
// The test binary starts itself again for each part: a mock upstream that speaks Xingchen's
// chat and Beebot's stream, the reverse proxy (immediate flushing, enough idle connections,
// full duplex), and the front door as functions/chat builds it, with a key, its checks and
// its one log line a request, which goes to the null device by a write of its own. Load is made by the
// benchmark's own process. All speak HTTP/1.1 without TLS on loopback, and each process
// ends when its standard input does, so that nothing outlives a killed run.
//
// The scenarios:
//
//   - plain: 64 clients, an answer of 1 kB in one piece
//   - stream: 64 clients, 100 events of 64 B of new text each, a write each
//   - burst: the same with the whole answer in one write
//   - slow: 2,000 streams open at a time, 20 events, 200 ms apart
//   - beebot: 16 clients, 200 snapshots of an answer that grows to 2,000 characters, turned
//     into deltas; against looking for the ends of lines in the same bytes and decoding each
//     frame's JSON and the JSON inside it once, in this process
//
// Every answer is verified while it is read: how many events, their text, and a last one
// that says so. Proxy and front take turns, round by round, the order changing; a figure is
// the median of the rounds, a ratio the median of the rounds' own ratios.
//
// # Reading the numbers
//
//   - cpu-ratio first: CPU of the front door ÷ CPU of the proxy for the same work (below 1
//     is better than the proxy). It hardly moves with noise, because load, upstream and
//     gateway may share the machine's cores.
//   - rps-ratio is front ÷ proxy too, so above 1 is better. On a machine that is busy or has
//     few cores it also tells of the load and of the upstream.
//   - mem-ratio is of (peak memory − memory before) ÷ streams, processes fresh for each round.
//   - age-p99-ratio is of the 99th percentile of arrival − the stamp that upstream put into
//     the text.
//   - speed-ratio of beebot is bytes per CPU second, front ÷ scan: 1 would be the plain scan
//     without any network. bytes-ratio is bytes to the client ÷ bytes from upstream.
//
// Differences of 10 % (CPU, memory) or 20 % (p99) mean nothing, and figures of two runs are
// not to be compared: only ratios of one run are. Where other work runs on the machine,
// rps-ratio is off by more than that, and age-p99-ratio tells only of that work. CPU and
// memory come from /proc; where there is none they are left out. No figure fails a run; a
// wrong answer does.
package bench
