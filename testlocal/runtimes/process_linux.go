package runtimes

import (
	"os/exec"
	"syscall"
)

// tie lets a program die with this one.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
