package routes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// MaxFile bounds a file of documents, in bytes: some hundred thousand vhosts.
const MaxFile = 256 << 20

// ErrNotRegular is why ReadFile refuses a folder, a pipe, a socket or a device.
var ErrNotRegular = errors.New("is not a regular file")

// ReadFile reads a file that a user named, following links. A pipe would block
// whoever reads it, and some devices never end: anything but a regular file is
// ErrNotRegular, and so is what only says that it is one and has its readers wait,
// as /proc/kmsg does. More than limit bytes are an error too. Errors are
// *fs.PathError, so that a caller can take the path off. A disk or a server of
// files may still not answer: see FileReader.
func ReadFile(path string, limit int64) ([]byte, error) {
	// Not even opened, as that alone may set a device going.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	// Without O_NONBLOCK a pipe that has just taken its place would block.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	tooLarge := &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("is larger than %d KiB", limit>>10)}
	switch {
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	case info.Size() > limit:
		return nil, tooLarge
	}
	out := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(unwaiting{f}, limit+1)); err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	if int64(out.Len()) > limit { // it grew, or hides its size as those of /proc do
		return nil, tooLarge
	}
	return out.Bytes(), nil
}

// unwaiting reads a file as it is: os.File would wait until there is more of what has its readers wait.
type unwaiting struct{ *os.File }

func (f unwaiting) Read(p []byte) (n int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	refused := conn.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); !errors.Is(err, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case refused != nil:
		return 0, refused
	case errors.Is(err, syscall.EAGAIN):
		return 0, ErrNotRegular
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
