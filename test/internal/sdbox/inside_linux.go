package sdbox

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// planVariable names the file with the plan of the box that this process is to become.
const planVariable = "SDBOX_PLAN"

type plan struct {
	Options
	Dir     string // an empty folder, to build the root in
	Console string // the terminal for /dev/console
}

// The units of the boot, and journald's configuration.
//
//go:embed base journald.conf
var own embed.FS

func init() {
	file := os.Getenv(planVariable)
	if file == "" {
		return
	}
	err := become(file)
	fmt.Fprintln(os.Stderr, "sdbox:", err)
	os.Exit(1)
}

// become builds the root and becomes systemd. It is the first process of the new
// namespaces, on the main thread, and so is what it executes.
func become(file string) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_PDEATHSIG", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	// Not by clone(2): that would make the test's cgroup the root of the namespace,
	// not the one in which this process was born.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	root, err := p.mountRoot()
	if err != nil {
		return err
	}
	if err := p.enter(root); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	const search = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	systemd := systemdIn("/")
	err = unix.Exec(systemd,
		[]string{systemd, "--system", "--unit=test.target", "--log-target=console", "--log-level=info", "--show-status=0"},
		[]string{
			search, "LANG=C.UTF-8", "container=sdbox",
			"SYSTEMD_UNIT_PATH=" + UnitDir + ":/run/systemd/system.control:/run/systemd/transient:/run/sdbox/base",
			"SYSTEMD_GENERATOR_PATH=/nonexistent", "SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nonexistent",
		})
	return &os.PathError{Op: "execve", Path: systemd, Err: err}
}

// mountRoot mounts everything that the box sees, and returns where.
func (p plan) mountRoot() (root string, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", &os.PathError{Op: "make private", Path: "/", Err: err}
	}
	m := mounter{}
	m.mount("tmpfs", p.Dir, 0, "mode=755")
	root = p.Dir + "/root"
	m.mkdir(p.Dir+"/up", p.Dir+"/work", root)
	m.mount("overlay", root, 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", p.Root, p.Dir, p.Dir))

	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	m.mount("proc", root+"/proc", safe, "")
	m.mount("sysfs", root+"/sys", safe|unix.MS_RDONLY, "")
	m.mount("cgroup2", root+"/sys/fs/cgroup", safe, "")
	m.mount("tmpfs", root+"/run", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
	m.mount("tmpfs", root+"/tmp", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	m.mount("tmpfs", root+"/var/log", unix.MS_NOSUID|unix.MS_NODEV, "mode=755") // a persistent journal is not the box's

	m.mount("tmpfs", root+"/dev", unix.MS_NOSUID, "mode=755")
	m.mkdir(root+"/dev/pts", root+"/dev/shm")
	m.mount("devpts", root+"/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
	m.mount("tmpfs", root+"/dev/shm", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		m.device(root+"/dev/"+name, unix.Mkdev(1, minor))
	}
	m.device(root+"/dev/tty", unix.Mkdev(5, 0))
	m.bind(p.Console, root+"/dev/console")
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		m.symlink(target, root+"/dev/"+name)
	}
	return root, m.err
}

// enter makes root the root, and fills it. Paths in the box are only right after that,
// for they may lead over symbolic links.
func (p plan) enter(root string) error {
	const old = "/.outside"
	if err := os.Mkdir(root+old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, root+old); err != nil {
		return &os.PathError{Op: "pivot_root", Path: root, Err: err}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := p.fill(old); err != nil {
		return err
	}
	if err := unix.Unmount(old, unix.MNT_DETACH); err != nil {
		return &os.PathError{Op: "umount", Path: old, Err: err}
	}
	return os.Remove(old)
}

// fill writes the test's files and the box's own.
func (p plan) fill(outside string) error {
	err := fs.WalkDir(own, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := own.ReadFile(name)
		if err != nil {
			return err
		}
		if name == "journald.conf" {
			return replaceFile("/run/systemd/journald.conf.d/sdbox.conf", data, 0o644)
		}
		return replaceFile("/run/sdbox/"+name, data, 0o644)
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(UnitDir, 0o755); err != nil {
		return err
	}
	for name, text := range p.Units {
		if err := replaceFile(path.Join(UnitDir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name, source := range p.Files {
		data, err := os.ReadFile(outside + source)
		if err != nil {
			return err
		}
		info, err := os.Stat(outside + source)
		if err != nil {
			return err
		}
		if err := replaceFile(name, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	// An image for containers comes without an id, and systemd would take that for the
	// first boot ever.
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return err
	}
	if err := replaceFile("/etc/machine-id", []byte(strings.ReplaceAll(string(id), "-", "")), 0o444); err != nil {
		return err
	}
	return replaceFile("/etc/hostname", []byte("sdbox\n"), 0o644)
}

// replaceFile writes a file under another name and renames it.
func replaceFile(name string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	fresh := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	if err := os.WriteFile(fresh, data, mode); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

// mounter does nothing more after the first error.
type mounter struct{ err error }

func (m *mounter) do(op, path string, f func() error) {
	if m.err != nil {
		return
	}
	if err := f(); err != nil {
		m.err = &os.PathError{Op: op, Path: path, Err: err}
	}
}

func (m *mounter) mount(kind, path string, flags uintptr, data string) {
	m.do("mount "+kind, path, func() error { return unix.Mount(kind, path, kind, flags, data) })
}

func (m *mounter) mkdir(paths ...string) {
	for _, path := range paths {
		m.do("mkdir", path, func() error { return unix.Mkdir(path, 0o755) })
	}
}

func (m *mounter) device(path string, number uint64) {
	m.do("mknod", path, func() error {
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(number)); err != nil {
			return err
		}
		return unix.Chmod(path, 0o666) // whatever the umask
	})
}

func (m *mounter) bind(source, path string) {
	m.do("create", path, func() error { return os.WriteFile(path, nil, 0o600) })
	m.do("bind "+source, path, func() error { return unix.Mount(source, path, "", unix.MS_BIND, "") })
}

func (m *mounter) symlink(target, path string) {
	m.do("symlink", path, func() error { return os.Symlink(target, path) })
}
