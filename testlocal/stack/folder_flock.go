//go:build unix && !aix && !solaris

package stack

import (
	"errors"
	"os"
	"syscall"
)

// lock locks a file until it is closed, at the latest by the end of the process.
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errTaken
	}
	return err
}
