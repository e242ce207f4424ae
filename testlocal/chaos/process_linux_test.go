package chaos

import (
	"os/exec"
	"syscall"
)

// tie lets a process die with this one.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
