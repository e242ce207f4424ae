// Package emulator is a local stand-in for the conversation services that the project speaks to: Xingchen's HTTP API and
// Beebot's RPC and stream, all behind one address and told apart by path. It checks keys, signatures and parameters as the
// services do, keeps state, answers from scripts or by a language model, and misbehaves when told to.
//
//	emu, err := emulator.New(emulator.Config{Pace: emulator.NoPace})
//	server := httptest.NewServer(emu)
//	defer emu.Close()
//
// Paths:
//
//	/v2/api/…               Xingchen (package xingchen)
//	/  (GET, POST)          Beebot's RPC gateway (package beebot)
//	/sse/paas4Json/…        Beebot's stream
//	/_emulator/faults       GET, PUT, DELETE the rules of package fault
//	/_emulator/requests     GET what arrived, secrets masked; DELETE forgets it
//	/_emulator/files/…      pictures
//	/_emulator/health       200 while it runs
//
// It is a tool for development and tests: it must not face the internet.
package emulator
