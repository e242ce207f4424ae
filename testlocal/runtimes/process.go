package runtimes

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// process is the program of an instance.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended

	mu     sync.Mutex
	frozen bool
}

// launch starts a program. It ends by stop or kill, and not with ctx.
func launch(ctx context.Context, path string, env []string, output io.Writer) (*process, error) {
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(ctx), path), exited: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, output, output
	tie(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	return p, nil
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// freeze stops the program from running until thaw.
func (p *process) freeze() { p.setFrozen(true, pause) }

func (p *process) thaw() { p.setFrozen(false, resume) }

func (p *process) setFrozen(frozen bool, change func(*os.Process) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != frozen && p.alive() && change(p.cmd.Process) == nil {
		p.frozen = frozen
	}
}

// stop asks the program to end, by SIGTERM, and kills it if it has not within grace.
func (p *process) stop(grace time.Duration) {
	p.thaw()
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		p.kill()
		return
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		p.kill()
	}
}

// kill ends the program at once, frozen or not.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it fails only if it has ended
	<-p.exited
}

// serialised lets several programs write to one writer.
type serialised struct {
	mu sync.Mutex
	to io.Writer
}

func (w *serialised) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}
