// Package chaos exports while everything around breaks: workers are killed without a word,
// NATS too, and upstream has errors. In the end the exported messages must be the generated
// ones, none missing and none twice, and the files those of an export that nobody disturbed,
// to the byte. It has no code for others to use.
//
//	go test ./testlocal/chaos                                                       # in small, with every run of the tests
//	XINGHE_CHAOS=full go test -count=1 -timeout 20m -run Chaos -v ./testlocal/chaos # 100,000 messages, some minutes
//	go test -run '^$' -bench Chat -benchtime 10x ./testlocal/chaos                  # how chat fares beside an export
//
// Workers are processes of the program in xinghe/workers, which the test builds; a NATS
// server is the test binary, started again. Emulator and export function are in the test's
// own process. What disturbs is tied to the count of requests that have reached upstream,
// not to time, so that it happens in the middle of the work on machines of any speed.
//
// No process outlives the test on Linux, however that ends; elsewhere one may if the test
// itself is killed.
package chaos
