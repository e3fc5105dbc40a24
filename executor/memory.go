package executor

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseMemory gives back what starting, fetching and decoding needed, and
// watching does not: the heap's free pages, and the program's own pages, of
// which those in use come back from the page cache when they are touched.
// Measured, this is about 0.5 MB of 10.
func releaseMemory() {
	debug.FreeOSMemory()
	if err := forgetProgram(); err != nil {
		log.Printf("release memory: %v", err) // it only stays larger
	}
}

// forgetProgram unmaps the pages of this program's file that cannot have been
// changed since they were read.
func forgetProgram() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var mode string
		_, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode)
		if err != nil || mode[1] != '-' || !strings.HasSuffix(lines.Text(), exe) {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}
