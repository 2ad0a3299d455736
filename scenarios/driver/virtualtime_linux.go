package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// instant is one moment on the clocks of the system.
type instant struct{ real, monotonic, raw, boot unix.Timespec }

func thisInstant() (i instant, err error) {
	for id, at := range map[int32]*unix.Timespec{
		unix.CLOCK_REALTIME: &i.real, unix.CLOCK_MONOTONIC: &i.monotonic, unix.CLOCK_MONOTONIC_RAW: &i.raw, unix.CLOCK_BOOTTIME: &i.boot,
	} {
		if err := unix.ClockGettime(id, at); err != nil {
			return i, fmt.Errorf("read clock %d: %w", id, err)
		}
	}
	return i, nil
}

// sharedStart is the moment from which the processes' time passes faster, where libfaketime 0.9 looks for it: a POSIX semaphore and a
// piece of POSIX shared memory, which the program faketime makes for the processes that it starts. That program takes the moment at
// which it happens to run; ours is the moment at which the fakes' clock began.
type sharedStart struct{ name string }

// sharedMemory is where glibc keeps both.
const sharedMemory = "/dev/shm"

var sharedStarts atomic.Int64

func shareStart(from instant) (*sharedStart, error) {
	s := &sharedStart{name: fmt.Sprintf("entracache-%d-%d", os.Getpid(), sharedStarts.Add(1))}
	// sem_t of glibc on 64-bit machines: the value 1 (nobody is inside), and that it is shared between processes.
	semaphore := make([]byte, 32)
	binary.NativeEndian.PutUint64(semaphore, 1)
	binary.NativeEndian.PutUint32(semaphore[8:], 128)
	// struct ft_shared_s of libfaketime: two counters that we do not use, and its start on four clocks.
	memory := make([]byte, 4096)
	at := 16
	for _, t := range []unix.Timespec{from.real, from.monotonic, from.raw, from.boot} {
		binary.NativeEndian.PutUint64(memory[at:], uint64(t.Sec))
		binary.NativeEndian.PutUint64(memory[at+8:], uint64(t.Nsec))
		at += 16
	}
	err := errors.Join(os.WriteFile(s.semaphoreFile(), semaphore, 0o600), os.WriteFile(s.memoryFile(), memory, 0o600))
	if err != nil {
		_ = s.remove()
		return nil, err
	}
	return s, nil
}

func (s *sharedStart) semaphoreFile() string { return filepath.Join(sharedMemory, "sem."+s.name) }

func (s *sharedStart) memoryFile() string { return filepath.Join(sharedMemory, s.name) }

// names are those of the semaphore and of the memory, as libfaketime's environment variable has them.
func (s *sharedStart) names() string { return "/" + s.name + " /" + s.name }

func (s *sharedStart) remove() error {
	return errors.Join(os.Remove(s.semaphoreFile()), os.Remove(s.memoryFile()))
}
