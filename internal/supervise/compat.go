package supervise

import (
	"net"
	"strconv"
	"strings"
)

// Compats are the other holders whose variables can be set.
var Compats = []string{"server-starter", "einhorn", "nginx"}

// compatEnv returns the variables by which programs find their sockets that were
// written for the holder named kind. The sockets are descriptors 3, 4, …
//
//   - server-starter: SERVER_STARTER_PORT and SERVER_STARTER_GENERATION, see
//     Server::Starter.
//   - einhorn: EINHORN_FDS, EINHORN_FD_COUNT, EINHORN_FD_0, …, EINHORN_MASTER_PID and
//     EINHORN_CHILD_INDEX. There is no EINHORN_SOCK_PATH to acknowledge to: readiness is
//     told otherwise.
//   - nginx: NGINX, by which an nginx finds its predecessor's sockets. It takes those
//     whose address its configuration listens on.
func compatEnv(kind string, addrs []net.Addr, generation, worker, holder int) []string {
	switch kind {
	case "server-starter":
		ports := make([]string, len(addrs))
		for i, addr := range addrs {
			ports[i] = starterPort(addr) + "=" + strconv.Itoa(3+i)
		}
		return []string{"SERVER_STARTER_PORT=" + strings.Join(ports, ";"), "SERVER_STARTER_GENERATION=" + strconv.Itoa(generation)}
	case "einhorn":
		env := []string{
			"EINHORN_MASTER_PID=" + strconv.Itoa(holder), "EINHORN_CHILD_INDEX=" + strconv.Itoa(worker),
			"EINHORN_FD_COUNT=" + strconv.Itoa(len(addrs)),
		}
		fds := make([]string, len(addrs))
		for i := range addrs {
			fds[i] = strconv.Itoa(3 + i)
			env = append(env, "EINHORN_FD_"+strconv.Itoa(i)+"="+fds[i])
		}
		return append(env, "EINHORN_FDS="+strings.Join(fds, " "))
	case "nginx":
		var all strings.Builder
		for i := range addrs {
			all.WriteString(strconv.Itoa(3+i) + ";")
		}
		return []string{"NGINX=" + all.String()}
	}
	return nil
}

// starterPort is an address as start_server --port and --path have it: a port alone is
// that of all addresses.
func starterPort(addr net.Addr) string {
	if addr == nil {
		return "0"
	}
	text := addr.String()
	if host, port, err := net.SplitHostPort(text); err == nil {
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			return port
		}
	}
	return text
}
